"""The load: a process with many cheap Socket.IO users and an open-loop publisher, on asyncio protocols.

It is not djactors' own client code, so that a fault common to both ends cannot hide; and it shares the machine with the
server, so it does no more than the measurement needs: no JSON on receipt, no task per user, no mask on frames.
"""

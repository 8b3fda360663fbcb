"""Posting, and seeing everything arrive: paced by the clock (open loop), or by the answers (closed loop)."""

import asyncio
import re
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter, process_time

from bench.load import events
from bench.load.commands import Event, Felt, Flood, Pace, Phase, Target, Use
from bench.load.crowd import Crowd
from bench.load.publisher import Publisher
from bench.usage import cpu

LEAD_SECONDS = 0.1
"""From the plan to the first post: the thread that keeps the pace must be up by then."""

LAST_DELIVERY_SECONDS = 10.0
"""How long nothing at all may arrive before what is still out counts as lost."""

SWITCH_SECONDS = 0.0005
"""How soon that thread gets its turn; Python's default would make posts up to 5 ms late."""


ERROR = re.compile(rb'"error":\{[^}]*\}')
"""What is shown of a refusal, in a batch of the first."""


class Meter:
    """What the target and the load use from now on."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._began = self._look()

    def _look(self) -> tuple[float, dict[str, float], float]:
        spent = {name: cpu(pid).total for name, pid in self._target.processes.items()}
        return perf_counter(), spent, process_time()

    def read(self) -> Use:
        """What was used until now."""
        (at, cpu, load), (at_0, cpu_0, load_0) = self._look(), self._began
        return Use(at - at_0, {name: cpu[name] - cpu_0[name] for name in cpu}, load - load_0)


class Numbers:
    """Hands out the numbers by which events are known again; never one twice."""

    def __init__(self) -> None:
        self._notice = 0
        self._job = 0
        self.jobs_known = 0

    def take(self, event: Event) -> int:
        """The next number. Raises RuntimeError when no known job is left."""
        if event == "notification.requested":
            self._notice += 1
            return self._notice
        if self._job >= self.jobs_known:
            raise RuntimeError(f"all {self.jobs_known} jobs are assigned: announce more with Know")
        self._job += 1
        return self._job


class _Posting(ABC):
    """Posts `Event`s to a crowd and waits until everything has arrived where it should."""

    def __init__(self, target: Target, publisher: Publisher, crowd: Crowd, numbers: Numbers, event: Event) -> None:
        self._target = target
        self._publisher = publisher
        self._crowd = crowd
        self._numbers = numbers
        self._event = event
        self._users = list(crowd.users)
        self._badges = {number: user.unread for number, user in crowd.users.items()}
        self._notified = {number: user.notified for number, user in crowd.users.items()}
        self.due: dict[int, float] = {}
        """By number: when the post that carried it was due."""
        self.sent_late: list[float] = []
        self.acknowledged: list[float] = []
        self.posts = 0
        self.faults: Counter[str] = Counter()

    @abstractmethod
    async def post_all(self) -> None:
        """Post, and return when everything is answered."""

    async def run(self) -> Phase:
        """Post everything and wait for the last delivery."""
        self._crowd.arrivals.clear()
        meter = Meter(self._target)
        await self.post_all()
        await self._arrived()
        return self._phase(meter.read())

    def _body(self, due: float) -> tuple[int, bytes]:
        number = self._numbers.take(self._event)
        self.due[number] = due
        user = self._users[number % len(self._users)]
        return number, events.body(self._event, number, user, self._target.tenant)

    def _answered(self, status: int, body: bytes, numbers: Sequence[int]) -> bool:
        """Whether a post was taken; a refusal is a fault, and nobody waits for what it carried."""
        # 202: what nchan says to a message that it has passed on.
        if status in {200, 201, 202} and b'"error"' not in body:
            return True
        error = ERROR.search(body)
        self.faults[f"answered {status} {(error[0] if error else body[:200]).decode(errors='replace')}"] += 1
        for number in numbers:
            self.due.pop(number, None)
        return False

    def _expected(self) -> int:
        """Messages whose arrival is waited for."""
        everybody = len(self._users) if self._event == "job.assigned" else 0
        return len(self.due) * (1 + everybody)

    async def _arrived(self) -> None:
        arrivals = self._crowd.arrivals
        expected, before = self._expected(), -1
        last = perf_counter() + LAST_DELIVERY_SECONDS
        while arrivals.messages < expected and perf_counter() < last:
            if arrivals.messages != before:
                before, last = arrivals.messages, perf_counter() + LAST_DELIVERY_SECONDS
            await asyncio.sleep(0.001)
        # The badge follows its notification; it may be in the next packet.
        while self._wrong_badges() and perf_counter() < last:  # noqa: ASYNC110 - spares a check at each frame
            await asyncio.sleep(0.001)

    def _wrong_badges(self) -> int:
        """Users whose unread count is not what it was and what came since; checked for who heard of one before."""
        if self._target.dialect == "plain":
            return 0
        wrong = 0
        for number, user in self._crowd.users.items():
            came, before = user.notified - self._notified[number], self._badges[number]
            wrong += bool(came) and before is not None and user.unread != before + came
        return wrong

    def _phase(self, use: Use) -> Phase:
        arrivals = self._crowd.arrivals
        faults = self.faults + arrivals.faults
        if wrong := self._wrong_badges():
            faults["a badge is wrong"] += wrong
        broadcast = self._event == "job.assigned"
        delivered = []
        for number, due in self.due.items():
            if number not in arrivals.at:
                faults["a notification was lost"] += 1
                continue
            at = arrivals.at[number]
            if broadcast:
                if arrivals.told(number) != len(self._users):
                    faults["an assignment did not come to everybody once"] += 1
                    continue
                at = max(at, arrivals.last[number])
            delivered.append(at - due)
        return Phase(
            event=self._event,
            posted=len(self.due),
            posts=self.posts,
            sockets=len(self._users),
            sent_late=self.sent_late,
            acknowledged=self.acknowledged,
            delivered=delivered,
            faults=dict(faults),
            messages=arrivals.messages,
            use=use,
        )


class Flooding(_Posting):
    """Closed loop. See `Flood`."""

    def __init__(self, target: Target, publisher: Publisher, crowd: Crowd, numbers: Numbers, command: Flood) -> None:
        super().__init__(target, publisher, crowd, numbers, command.event)
        self._command = command
        self._left = sys.maxsize if command.count is None else command.count

    async def post_all(self) -> None:
        """Keep every producer busy until the time is up or the count is reached."""
        end = perf_counter() + self._command.seconds
        producers = self._command.producers
        finished = asyncio.Event()
        busy = producers

        def post(due: float) -> None:
            nonlocal busy
            size = min(self._command.batch, self._left)
            if not size or due >= end:
                busy -= 1
                if not busy:
                    finished.set()
                return
            self._left -= size
            self.posts += 1
            made = [self._body(due) for _ in range(size)]
            numbers = [number for number, _ in made]
            if self._command.batch == 1:
                path, body = "/api/events", made[0][1]
            else:
                path, body = "/api/events/batch", b"[%b]" % b",".join(body for _, body in made)

            def done(status: int, answer: bytes, at: float) -> None:
                if self._answered(status, answer, numbers):
                    self.acknowledged.append(at - due)
                    post(at)
                else:
                    post(end)  # a server that refuses is not flooded further

            if self._target.dialect == "plain":
                path = f"/pub/{self._users[numbers[0] % len(self._users)]}"
                body = b'42["notification:new",%b]' % body
            self._publisher.post(path, body, done)
            self.sent_late.append(perf_counter() - due)

        for _ in range(producers):
            post(perf_counter())
        await finished.wait()


class Pacing(_Posting):
    """Open loop. See `Pace`; its warm-up is a run of its own."""

    def __init__(self, target: Target, publisher: Publisher, crowd: Crowd, numbers: Numbers, command: Pace) -> None:
        super().__init__(target, publisher, crowd, numbers, command.event)
        self._rate = command.rate
        self._count = round(command.rate * command.seconds)
        self._answered_at: dict[int, float] = {}

    async def post_all(self) -> None:
        """Post at fixed distances, and wait for the last answer."""
        began = perf_counter() + LEAD_SECONDS
        due = [began + index / self._rate for index in range(self._count)]
        made = [self._body(at) for at in due]
        finished = asyncio.Event()
        unanswered = self._count
        self.posts = self._count

        def post(index: int) -> None:
            number, body = made[index]

            def done(status: int, answer: bytes, at: float) -> None:
                nonlocal unanswered
                unanswered -= 1
                if self._answered(status, answer, [number]):
                    self.acknowledged.append(at - due[index])
                    self._answered_at[number] = at
                if not unanswered:
                    finished.set()

            self._publisher.post("/api/events", body, done)
            self.sent_late.append(perf_counter() - due[index])

        sys.setswitchinterval(SWITCH_SECONDS)
        loop = asyncio.get_running_loop()
        threading.Thread(
            target=_keep_pace, args=(due, lambda index: loop.call_soon_threadsafe(post, index)), daemon=True
        ).start()
        if self._count:
            await finished.wait()

    def during(self, since: float, until: float) -> Felt:
        """How the posts that were due in this time were served. After `run`, and before another begins."""
        at = self._crowd.arrivals.at
        within = [(number, due) for number, due in self.due.items() if since <= due <= until]
        return Felt(
            acknowledged=[self._answered_at[number] - due for number, due in within],
            delivered=[at[number] - due for number, due in within if number in at],
        )


def _keep_pace(due: list[float], post: Callable[[int], object]) -> None:
    """Call `post` for each index when it is due. A thread, since the loop's timers are a millisecond coarse."""
    for index, at in enumerate(due):
        wait = at - perf_counter()
        if wait > 0:
            time.sleep(wait)
        post(index)


def slices(total: int, size: int) -> Iterator[range]:
    """1 to `total`, in pieces."""
    for first in range(1, total + 1, size):
        yield range(first, min(first + size, total + 1))

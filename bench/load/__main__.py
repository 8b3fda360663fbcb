"""The load process: a `Plan` on stdin, a `Result` on stdout."""

import asyncio
import gc
import resource
import sys
from time import perf_counter, process_time, time

import jwt
import msgspec

from bench.load.phase import BACKEND, TENANT, run_phase
from bench.load.plan import Plan, Result
from bench.load.publisher import Publisher
from bench.load.user import Deliver, User
from bench.server import cpu_seconds, resident_mib

CONNECT_SECONDS = 60.0
TOKEN_SECONDS = 3600


async def run(plan: Plan) -> Result:
    """Carry out the plan. Raises ConnectionError or RuntimeError when the server does not play along."""
    publisher = Publisher(plan.host, plan.port, _token(plan, role="service"))
    await publisher.open(plan.publishers)
    known = [*range(1, max(plan.users, plan.connecting_users) + 1), BACKEND]
    await publisher.publish_all(
        [
            {"type": "user.upserted", "tenantId": TENANT, "userId": user, "name": f"User {user}", "role": "user"}
            for user in known
        ]
    )
    result = Result(server_mib_idle=resident_mib(plan.server_pid))

    cpu = cpu_seconds(plan.server_pid)
    began = perf_counter()
    crowd = await _connect(plan, plan.connecting_users, lambda number, at: None)
    arrived = [user.connected.result() for user in crowd if user.connected.exception() is None]
    result.connected = [at - began for at in arrived]
    result.connect_failures = len(crowd) - len(arrived)
    result.connect_server_cpu_seconds = cpu_seconds(plan.server_pid) - cpu
    result.server_mib_connected = resident_mib(plan.server_pid)
    for user in crowd:
        user.close()

    arrivals: dict[int, float] = {}
    users = await _connect(plan, plan.users, arrivals.setdefault)
    for user in users:
        user.connected.result()
    # The load's own pauses would be taken for the server's.
    gc.collect()
    gc.freeze()
    gc.disable()
    for event in plan.events:
        arrivals.clear()
        result.phases.append(await run_phase(plan, event, publisher, users, arrivals))
    result.server_mib_end = resident_mib(plan.server_pid)
    for user in users:
        user.close()
    publisher.close()
    return result


async def _connect(plan: Plan, count: int, deliver: Deliver) -> list[User]:
    """Users 1 to `count`, all at once; each one's future says when it was connected, or why not."""
    loop = asyncio.get_running_loop()
    tokens = [_token(plan, role="user", userId=number) for number in range(1, count + 1)]
    auth = [msgspec.json.encode({"token": token, "tenantId": TENANT, "recovery": plan.recovery}) for token in tokens]
    users = [User(f"{plan.host}:{plan.port}", each, deliver) for each in auth]

    async def connect(user: User) -> None:
        try:
            await loop.create_connection(lambda: user, plan.host, plan.port)
        except OSError as refusal:
            user.connected.set_exception(ConnectionError(str(refusal)))

    tasks = [loop.create_task(connect(user)) for user in users]
    if users:
        await asyncio.wait(tasks)
        await asyncio.wait([user.connected for user in users], timeout=CONNECT_SECONDS)
    for user in users:
        if not user.connected.done():
            user.connected.set_exception(ConnectionError(f"no CONNECT reply within {CONNECT_SECONDS} s"))
    return users


def _token(plan: Plan, **claims: object) -> str:
    claims = {"tenantId": TENANT, "userId": BACKEND, "exp": int(time()) + TOKEN_SECONDS} | claims
    return jwt.encode(claims, plan.secret, algorithm="HS256")


def main() -> None:
    """Read the plan, run it, write the result."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    result = asyncio.run(run(plan))
    result.load_cpu_seconds = process_time()
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()

"""What mypy says of programs on `djactors.kernel`. See `test_typing.py` for the comments; nothing here is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import reveal_type

import trio

from djactors.kernel import Actor, ActorRef, ActorSpec, ChildSpec, Envelope, ServiceSpec, Supervisor


class Counter(Actor[str, int]):
    async def on_message(self, message: str) -> int:
        self.ref.tell_nowait(1)  # error: arg-type
        return len(message)


class Batches(Actor[str, int]):
    async def on_batch(self, batch: Sequence[Envelope[str, int]]) -> None:
        for envelope in batch:
            reveal_type(envelope.message)  # reveals: str
            envelope.answer(len(envelope.message))
            envelope.answer("many")  # error: arg-type
            envelope.fail(ValueError("none"))


class WrongReply(Actor[str, int]):
    async def on_message(self, message: str) -> str:  # error: override
        return message


class WrongMessage(Actor[str, int]):
    async def on_message(self, message: int) -> int:  # error: override
        return message


class Listener:
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()


class NoService:
    def run(self) -> None: ...


counter = ActorSpec("counter", Counter, mailbox_capacity=10)
reveal_type(counter)  # reveals: djactors.kernel._spec.ActorSpec[str, int]
listener = ServiceSpec("listener", Listener)

ActorSpec("listener", Listener)  # error: arg-type
ServiceSpec("counter", Counter)  # error: arg-type
ServiceSpec("none", NoService)  # error: arg-type
ActorSpec("counter", lambda: Counter(), mailbox_size=10)  # error: call-arg
ServiceSpec("listener", Listener, mailbox_capacity=10)  # error: call-arg
Supervisor("tree", [counter, listener])
Supervisor("tree", [ChildSpec("neither")])  # error: list-item
Supervisor("tree", [Counter])  # error: list-item


async def ask(supervisor: Supervisor) -> None:
    ref = supervisor.ref(counter)
    reveal_type(ref)  # reveals: djactors.kernel._ref.ActorRef[str, int]
    reveal_type(await ref.ask("a", timeout=1))  # reveals: int
    reveal_type(await ref.ask_nowait("a", timeout=1))  # reveals: int
    await ref.tell("a")
    await ref.tell(1)  # error: arg-type
    ref.tell_nowait(b"a")  # error: arg-type
    await ref.ask(1, timeout=1)  # error: arg-type
    await ref.ask("a")  # error: call-arg
    answer: str = await ref.ask("a", timeout=1)  # error: assignment
    print(answer)
    supervisor.ref(listener)  # error: arg-type
    supervisor.ref("counter")  # error: arg-type


def count(answer: int | Exception) -> None: ...


def spell(answer: str | Exception) -> None: ...


def request(ref: ActorRef[str, int]) -> None:
    ref.request_nowait("a", count)
    ref.request_nowait(1, count)  # error: arg-type
    ref.request_nowait("a", spell)  # error: arg-type


async def children(supervisor: Supervisor) -> None:
    reveal_type(supervisor.spawn_child(counter))  # reveals: djactors.kernel._ref.ActorRef[str, int]
    reveal_type(await supervisor.start_child(counter))  # reveals: djactors.kernel._ref.ActorRef[str, int]
    supervisor.spawn_child(listener).tell_nowait("a")  # error: attr-defined


class Reader(Actor[str | bytes, bool]):
    async def on_message(self, message: str | bytes) -> bool:
        return bool(message)


def stands_in(takes_more: ActorRef[str | bytes, bool], takes_less: ActorRef[str, int]) -> None:
    """Who takes more and answers more exactly can stand in for who takes less, and not the other way round."""
    fewer: ActorRef[str, int] = takes_more
    more: ActorRef[str | bytes, int] = takes_less  # error: assignment
    exact: ActorRef[str, bool] = takes_less  # error: assignment
    print(fewer, more, exact)


def insides(ref: ActorRef[str, int]) -> None:
    print(ref.mailbox)  # error: attr-defined
    ref.refuse()  # error: attr-defined

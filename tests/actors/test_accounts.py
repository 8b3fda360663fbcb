"""Accounts in memory: bounded, never older than what a commit has said, read once for all who wait."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.actors import accounts as module
from djactors.actors.accounts import Accounts
from djactors.domain.accounts import UNTOLD, Account

KEY = (1, 7)
ADMIN, USER = Account("admin"), Account("user")


class Store:
    """Holds each read up until it is let go; what it answers is of the moment at which the read began."""

    def __init__(self) -> None:
        self.stored: dict[tuple[int, int], Account] = {}
        self.reads: list[tuple[int, int]] = []
        self.gates: list[trio.Event] = []
        self.held = False
        self.error: Exception | None = None

    async def account(self, tenant_id: int, user_id: int) -> Account:
        self.reads.append((tenant_id, user_id))
        found = self.stored.get((tenant_id, user_id), UNTOLD)
        if self.held:
            gate = trio.Event()
            self.gates.append(gate)
            await gate.wait()
        if self.error is not None:
            raise self.error
        return found


async def test_a_read_that_began_before_a_commit_does_not_undo_what_the_commit_said(autojump_clock: object) -> None:
    store = Store()
    store.stored[KEY], store.held = ADMIN, True
    accounts = Accounts(store.account)
    found: list[Account] = []

    async def ask() -> None:
        found.append(await accounts.look_up(KEY))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        accounts.changed({KEY: USER, (1, 8): ADMIN})
        store.gates[0].set()
    assert found == [USER] * 3
    assert store.reads == [KEY], "once for all who wait"
    assert accounts.get((1, 8)) is None, "who was not asked for is not kept"


async def test_who_waits_while_everything_is_forgotten_reads_anew(autojump_clock: object) -> None:
    store = Store()
    store.stored[KEY], store.held = ADMIN, True
    accounts = Accounts(store.account)
    found: list[Account] = []

    async def ask() -> None:
        found.append(await accounts.look_up(KEY))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        store.stored[KEY], store.held = USER, False
        accounts.forget()
        store.gates[0].set()
    assert found == [USER] * 2


async def test_one_who_gives_up_or_fails_leaves_the_others_their_answer(autojump_clock: object) -> None:
    store = Store()
    store.held = True
    accounts = Accounts(store.account)
    found: list[Account] = []

    async def ask() -> None:
        found.append(await accounts.look_up(KEY))

    async with trio.open_nursery() as nursery:
        first = trio.CancelScope()

        async def ask_and_go() -> None:
            with first:
                await accounts.look_up(KEY)

        nursery.start_soon(ask_and_go)
        await wait_all_tasks_blocked()
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        store.held = False
        first.cancel()
    assert found == [UNTOLD]
    store.error = RuntimeError("no")
    with pytest.raises(RuntimeError):
        await accounts.look_up((1, 8))
    store.error = None
    assert await accounts.look_up((1, 8)) == UNTOLD


async def test_few_are_kept(autojump_clock: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ACCOUNTS", 10)
    store = Store()
    accounts = Accounts(store.account)
    for user_id in range(1, 40):
        await accounts.look_up((1, user_id))
        await accounts.look_up((1, 1))
    assert len(accounts._known) <= 10
    assert store.reads.count((1, 1)) == 1, "who is asked for often stays"
    assert not accounts._reading
    assert not accounts._meanwhile


async def test_what_was_read_is_true_for_a_moment_where_other_nodes_write(autojump_clock: object) -> None:
    store = Store()
    store.stored[KEY] = ADMIN
    accounts = Accounts(store.account, known_for=1.0)
    assert await accounts.look_up(KEY) == ADMIN
    store.stored[KEY] = USER
    await trio.sleep(0.999)
    assert await accounts.look_up(KEY) == ADMIN, "nobody asks the store again within the moment"
    await trio.sleep(0.002)
    assert accounts.get(KEY) is None, "another node may have changed it"
    assert await accounts.look_up(KEY) == USER

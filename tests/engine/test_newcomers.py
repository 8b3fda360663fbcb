"""Row A2: whoever floods the door with handshakes uses up their own share of newcomers, not others'."""

from dataclasses import replace

import pytest
import trio

from djactors.engine._admission import Admission
from tests.engine.clients import CALM
from tests.engine.conftest import Serve
from tests.engine.test_admission import ask

ATTACKER = "192.0.2.66"
RATE, BURST = 400.0, 1000


class Door:
    """An admission with the default figures, and a crowd before it."""

    def __init__(self) -> None:
        self.admission = Admission(max_sessions=10**9, rate=RATE, burst=BURST)
        self.now = 100.0

    def let_in(self, peer: str, tries: int, *, known: bool = False) -> int:
        return sum(ask(self.admission, 0, self.now, peer, known=known) is None for _ in range(tries))

    def flood(self, seconds: float, attackers: list[str], tries: int = 20) -> None:
        """Each of them asks `tries` times every 10 ms."""
        for _ in range(round(seconds * 100)):
            self.now += 0.01
            for attacker in attackers:
                self.let_in(attacker, tries)


def test_a2_one_address_that_floods_leaves_others_their_turns() -> None:
    door = Door()
    honest = 0
    for second in range(30):
        door.flood(1, [ATTACKER])
        honest += door.let_in(f"198.51.100.{second}", 10)
    assert honest == 300


def test_a2_eight_addresses_that_flood_leave_others_their_turns() -> None:
    door = Door()
    honest = 0
    for second in range(10):
        door.flood(1, [f"192.0.2.{number}" for number in range(8)], tries=5)
        honest += door.let_in(f"198.51.100.{second}", 10)
    assert honest == 100


def test_a2_an_office_gets_in_while_one_address_floods() -> None:
    door = Door()
    door.flood(5, [ATTACKER])
    left = 120
    for _ in range(100):
        door.flood(0.01, [ATTACKER])
        left -= door.let_in("198.51.100.7", left)
    assert left == 0


def test_a2_a_crowd_of_networks_leaves_room_for_those_who_are_known() -> None:
    door = Door()
    strangers = iter(range(10**6))
    for _ in range(500):
        door.now += 0.01
        for _ in range(20):
            door.let_in(f"2001:db8:{next(strangers) % 65536:x}::1", 1)
    assert door.let_in("198.51.100.7", 1) == 0
    left = 150
    for _ in range(400):
        door.now += 0.01
        for _ in range(20):
            door.let_in(f"2001:db8:{next(strangers) % 65536:x}::1", 1)
        left -= door.let_in("198.51.100.7", left, known=True)
    assert left == 0


def test_an_address_alone_has_the_whole_burst_and_the_whole_rate() -> None:
    door = Door()
    assert door.let_in(ATTACKER, 5000) == BURST
    door.now += 2
    assert door.let_in(ATTACKER, 5000) == 2 * RATE


def test_whoever_waits_as_long_as_was_told_is_let_in() -> None:
    door = Door()
    door.let_in(ATTACKER, 5000)
    refusal = door.admission.refusal(0, door.now, ATTACKER, known=False)
    assert refusal is not None
    assert refusal.by_share
    door.now += refusal.retry_after
    assert door.let_in(ATTACKER, 1) == 1


async def test_a2_one_connection_pipelines_handshakes_and_is_told_429(autojump_clock, serve: Serve) -> None:
    served = await serve(replace(CALM, admit_rate=10.0, admit_burst=20))
    attack = [await served.get(address=ATTACKER) for _ in range(25)]
    assert [answer.status for answer in attack] == [200] * 20 + [429] * 5
    assert 1 <= int(attack[-1].headers["retry-after"]) <= 2
    assert (await served.get(address="198.51.100.7")).status == 200
    assert served.log.refusals == ["share"] * 5


@pytest.mark.parametrize("peer", ["2001:db8:1:2::5", "2001:db8:1:2:ffff::1"])
def test_a2_the_hosts_of_one_ipv6_network_have_one_share(peer: str) -> None:
    door = Door()
    door.let_in("2001:db8:1:2::1", 5000)
    assert door.let_in(peer, 10) == 0
    assert door.let_in("2001:db8:1:3::1", 10) == 10


async def test_a2_where_somebody_proved_who_they_are_newcomers_go_first(autojump_clock, serve: Serve) -> None:
    served = await serve(replace(CALM, admit_rate=1.0, admit_burst=20))
    sid = await served.open_session()
    [session] = [each for each in served.application.engine.sessions if each.sid == sid]
    session.prove("somebody")
    await trio.sleep(30)
    statuses = [(await served.get(address=f"198.51.100.{number}")).status for number in range(40)]
    assert statuses[-1] != 200
    assert (await served.get()).status == 200

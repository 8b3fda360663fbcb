"""A pid proves whom it was given to."""

from collections.abc import Callable
from itertools import count

import pytest

from djactors.actors.pid import Issue, PidIssuer
from djactors.domain.marks import BEGINNING, Offset

KEY = b"k" * 32
AT = Offset(4711, 5)


def nonces() -> Callable[[int], bytes]:
    numbers = count()
    return lambda size: next(numbers).to_bytes(size, "big")


def issued(
    tenant_id: int = 1, user_id: int = 11, at: Offset = AT, *, reload: bool = False, key: bytes = KEY
) -> tuple[str, str]:
    """What the pid claims, and the proof of it."""
    claim, _, mac = PidIssuer(key, nonces()).issue(tenant_id, user_id, at, reload=reload).rpartition(".")
    return claim, mac


def test_it_names_the_user_and_the_moment():
    claim, _ = issued()
    nonce, *rest = claim.split(".", 3)
    assert rest == ["1", "11", str(AT)]
    assert nonce


@pytest.mark.parametrize("at", [BEGINNING, AT, Offset(-1, 2**53 - 1), Offset(2**63 - 1, 1), Offset(-(2**63), 1)])
@pytest.mark.parametrize("reload", [True, False])
def test_what_it_says_is_read_back(at: Offset, reload: bool):
    issuer = PidIssuer(KEY, nonces())
    pid = issuer.issue(2**53 - 1, 1, at, reload=reload)
    assert issuer.verify(pid, 2**53 - 1, 1) == Issue(at, reload)
    assert issuer.verify(pid, 2**53 - 2, 1) is None
    assert issuer.verify(pid, 2**53 - 1, 2) is None


def test_its_proof_depends_on_everything_it_says_and_on_the_secret():
    proofs = [
        issued(),
        issued(tenant_id=2),
        issued(user_id=12),
        issued(at=Offset(4711, 6)),
        issued(at=Offset(4712, 5)),
        issued(at=BEGINNING),
        issued(reload=True),
        issued(key=b"l" * 32),
    ]
    assert len({mac for _, mac in proofs}) == len(proofs)
    assert issued() == issued()


def test_each_socket_gets_one_of_its_own_that_fits_into_json_and_a_url():
    issuer = PidIssuer(KEY, nonces())
    pids = {issuer.issue(1, 11, AT) for _ in range(100)}
    assert len(pids) == 100
    assert all(pid.isascii() and '"' not in pid and "+" not in pid and "/" not in pid for pid in pids)
    assert all(len(pid) < 150 for pid in pids)

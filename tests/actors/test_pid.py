"""A pid proves whom it was given to."""

from collections.abc import Callable
from itertools import count

from djactors.actors.pid import PidIssuer

KEY = b"k" * 32


def nonces() -> Callable[[int], bytes]:
    numbers = count()
    return lambda size: next(numbers).to_bytes(size, "big")


def issued(
    tenant_id: int = 1, user_id: int = 11, seq: int = 5, *, epoch: str = "epoch", key: bytes = KEY
) -> tuple[str, str]:
    """What the pid claims, and the proof of it."""
    claim, _, mac = PidIssuer(epoch, key, nonces()).issue(tenant_id, user_id, seq).rpartition(".")
    return claim, mac


def test_it_names_the_user_the_database_and_the_moment():
    claim, _ = issued()
    nonce, *rest = claim.split(".")
    assert rest == ["1", "11", "epoch", "5"]
    assert nonce


def test_its_proof_depends_on_everything_it_says_and_on_the_secret():
    proofs = [
        issued(),
        issued(tenant_id=2),
        issued(user_id=12),
        issued(seq=6),
        issued(epoch="other"),
        issued(key=b"l" * 32),
    ]
    assert len({mac for _, mac in proofs}) == len(proofs)
    assert issued() == issued()


def test_each_socket_gets_one_of_its_own_that_fits_into_json_and_a_url():
    issuer = PidIssuer("epoch", KEY, nonces())
    pids = {issuer.issue(1, 11, 5) for _ in range(100)}
    assert len(pids) == 100
    assert all(pid.isascii() and '"' not in pid and "+" not in pid and "/" not in pid for pid in pids)
    assert all(len(pid) < 150 for pid in pids)

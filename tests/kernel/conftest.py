"""Each test that runs actors does so twice: with actors that keep their task while they rest, and with actors that give
it back. Nobody may notice a difference."""

import pytest

from djactors.kernel import ActorSpec

WITHOUT_ACTORS = {"test_alarms", "test_mailbox"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] not in WITHOUT_ACTORS:
        ids = ["keeps its task", "gives its task back"]
        metafunc.parametrize("keeps_task", [True, False], indirect=True, ids=ids)


@pytest.fixture(autouse=True)
def keeps_task(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """What `ActorSpec` has for actors of whom the test says nothing. It is there for the tests that do not name it."""
    defaults = ActorSpec.__init__.__kwdefaults__
    assert defaults is not None
    keeps: bool = getattr(request, "param", defaults["keeps_task"])
    monkeypatch.setitem(defaults, "keeps_task", keeps)
    return keeps

"""Each test that runs actors does so twice: with actors that keep their task while they rest, and with actors that give
it back. Nobody may notice a difference."""

import pytest

from djactors.kernel import ActorSpec

WITHOUT_ACTORS = {"test_alarms", "test_mailbox"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] not in WITHOUT_ACTORS:
        metafunc.fixturenames.append("keeps_task")
        ids = ["keeps its task", "gives its task back"]
        metafunc.parametrize("keeps_task", [True, False], indirect=True, ids=ids)


@pytest.fixture
def keeps_task(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """What `ActorSpec` has for actors of whom the test says nothing."""
    defaults = ActorSpec.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "keeps_task", request.param)
    return request.param

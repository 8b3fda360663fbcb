"""The page's own tests, of its stores, hooks and components, are part of the suite."""

from djactors.web.build import WEB
from djactors.web.node import npm


def test_the_page_s_own_tests_pass() -> None:
    done = npm("test", folder=WEB, capture=True)
    assert done.returncode == 0, done.stdout[-8000:]

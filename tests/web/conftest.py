"""Fixtures of the browser tests: one Chromium and one server for all of them, ended when the last is done."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.environment.preparation import find_chromium
from tests.web.site import PEOPLE, Site, Studio, running_site
from tests.web.visitor import Visitor, open_visitor

FAILURES = Path(__file__).parents[2] / "build" / "web-failures"
"""Where a failed test leaves a picture of every page that was open in it."""

Visit = Callable[..., Visitor]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if call.when == "call" and report.failed:
        for visitor in item.stash.get(VISITORS, []):
            _picture(item, visitor)
    return report


VISITORS: pytest.StashKey[list[Visitor]] = pytest.StashKey()


def _picture(item: pytest.Item, visitor: Visitor) -> None:
    FAILURES.mkdir(parents=True, exist_ok=True)
    test = re.sub(r"[^\w.-]+", "-", item.name)
    for number, page in enumerate(visitor.context.pages):
        page.screenshot(path=FAILURES / f"{test}-{visitor.name}-{number}.png")


# Of the package, not of the session: Playwright's loop stays in the thread, and other tests start loops of their own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = find_chromium()
        assert chromium is not None, "no Chromium: python -m tests --prepare"
        # The tests may run as root, as which Chromium has no sandbox.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """A server that the test may kill."""
    with running_site(tmp_path) as running:
        yield running


@pytest.fixture
def studio(site: Site) -> Studio:
    """A tenant of this test's own."""
    return Studio(site)


@pytest.fixture
def visitors(request: pytest.FixtureRequest) -> Iterator[list[Visitor]]:
    """Everybody at the page. All leave at the end, and what went wrong in their browsers fails the test."""
    # A server of the test's own outlives those who look at it: they would complain of its end.
    if "own_site" in request.fixturenames:
        request.getfixturevalue("own_site")
    there: list[Visitor] = []
    request.node.stash[VISITORS] = there
    yield there
    failures = []
    for visitor in there:
        try:
            visitor.leave()
        except AssertionError as failure:
            failures.append(str(failure))
    assert failures == []


@pytest.fixture
def visit(browser: Browser, visitors: list[Visitor]) -> Visit:
    """`visit(studio, BOB)`: Bob, signed in and connected. Options as `open_visitor`; `path` is where to go."""

    def signed_in(studio: Studio, user: int, path: str = "/", token: str | None = None, **options: Any) -> Visitor:
        visitor = open_visitor(browser, studio.site, PEOPLE[user][0], **options)
        visitors.append(visitor)
        visitor.sign_in(token or studio.token(user), path)
        return visitor

    return signed_in

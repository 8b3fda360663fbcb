"""A token that ends: said in time, replaced on the open connection, and refused with words when it is over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.web.conftest import Visit
from tests.web.site import BOB, CAROL, Site, Studio, running_site
from tests.web.visitor import Visitor, open_visitor

TTL = 5
"""Seconds. Long enough for a browser to start on a busy machine, and the end is waited for."""


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """A server that warns from the start, gives no grace, and looks at each token with its frequent heartbeats."""
    settings = {
        "DJACTORS_EXPIRY_WARNING": "3600",
        "DJACTORS_EXPIRY_GRACE": "0",
        "DJACTORS_PING_INTERVAL": "0.5",
    }
    with running_site(tmp_path, settings) as site:
        yield site


def test_an_ending_token_is_replaced_in_place_and_the_connection_outlives_it(visit: Visit, own_site: Site) -> None:
    studio = Studio(own_site)
    ends = time.time() + TTL + 1
    bob = visit(studio, BOB, token=studio.token(BOB, ttl=TTL))
    notice = bob.page.get_by_test_id("token-notice")
    expect(notice).to_contain_text("Your sign-in ends")
    connections = handshakes(bob.requests)

    bob.click("Sign in again", within=notice)
    form = bob.page.get_by_role("dialog", name="Sign in again")
    expect(form).to_be_visible()
    form.get_by_role("textbox", name="Token or sign-in link").fill(studio.token(BOB, ttl=2 * 3600))
    bob.click("Go on", within=form)
    expect(form).to_have_count(0)
    expect(notice).to_have_count(0)

    # The old token's end is what must pass; nothing on the page tells of it.
    bob.page.evaluate("ends => new Promise((passed) => setTimeout(passed, ends - Date.now()))", ends * 1000)
    studio.notify(BOB, "after the old token's end")
    expect(bob.toast("after the old token's end")).to_be_visible()
    bob.expect_connected()
    assert handshakes(bob.requests) == connections
    assert len(bob.websockets) == 1
    # What the tab keeps is the new one.
    bob.page.reload()
    bob.expect_connected()


def handshakes(requests: list[str]) -> int:
    return sum("/socket.io/" in url and "sid=" not in url for url in requests)


def test_a_token_that_has_ended_leads_to_the_sign_in_with_the_reason(visit: Visit, own_site: Site) -> None:
    studio = Studio(own_site)
    bob = visit(studio, BOB, token=studio.token(BOB, ttl=TTL))
    # The refusal of the attempt to come back ends its upgrade, too.
    bob.expects(r"status of 401", r"WebSocket is closed before the connection is established")
    sign_in = bob.page.get_by_test_id("sign-in")
    expect(sign_in.get_by_role("status")).to_contain_text("Your sign-in has ended")
    sign_in.get_by_role("textbox", name="Token or sign-in link").fill(studio.token(BOB))
    bob.click("Sign in", within=sign_in)
    bob.expect_connected()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_notice_of_an_ending_token_and_its_dialog_have_no_barrier(
    browser: Browser, visitors: list[Visitor], own_site: Site, theme: str
) -> None:
    bob = open_visitor(browser, own_site, "Bob", theme=theme)
    visitors.append(bob)
    bob.sign_in(Studio(own_site).token(BOB, ttl=600))
    notice = bob.page.get_by_test_id("token-notice")
    expect(notice).to_be_visible()
    bob.expect_accessible()
    bob.click("Sign in again", within=notice)
    expect(bob.page.get_by_role("dialog", name="Sign in again")).to_be_visible()
    bob.expect_accessible()


def test_a_token_that_the_server_refuses_changes_nothing(visit: Visit, own_site: Site) -> None:
    studio = Studio(own_site)
    bob = visit(studio, BOB, token=studio.token(BOB, ttl=600))
    bob.click("Sign in again")
    form = bob.page.get_by_role("dialog", name="Sign in again")
    form.get_by_role("textbox", name="Token or sign-in link").fill(studio.token(BOB)[:-4] + "AAAA")
    bob.click("Go on", within=form)
    expect(form.get_by_role("alert")).to_be_visible()
    bob.expect_connected()
    studio.notify(BOB, "still here")
    bob.expect_badge(1)


def test_signing_in_as_somebody_else_shows_nothing_of_the_first(visit: Visit, studio: Studio) -> None:
    bob = visit(studio, BOB)
    studio.notify(BOB, "for Bob alone")
    bob.expect_badge(1)
    bob.click("Account and settings")
    bob.click("Sign out")
    expect(bob.page.get_by_test_id("sign-in").get_by_role("status")).to_have_text("You are signed out.")
    assert bob.page.evaluate("sessionStorage.getItem('djactors.token')") is None
    bob.sign_in(studio.token(CAROL))
    bob.expect_badge(0)
    bob.open_inbox()
    expect(bob.page.get_by_text("Nothing here yet")).to_be_visible()
    expect(bob.page.get_by_test_id("toast")).to_have_count(0)

"""What people stumble over in their first hour: times, tabs and links, sign-in, toasts, the Back button, the charts.

Named after the rows C3 to C9 of what was found wrong in version 0.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.environment.preparation import find_chromium
from tests.web.conftest import Visit
from tests.web.site import ADA, ALICE, BOB, CAROL, Studio
from tests.web.visitor import DESKTOP, PATIENCE_MS, PHONE, Visitor, open_visitor

README = Path(__file__).parents[2] / "README.md"


def job_url(visitor: Visitor, job: dict[str, object]) -> str:
    return f"{visitor.site.url}/#/jobs/{job['id']}"


def heading(page: Page, name: str) -> None:
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()


# C3: times


@pytest.mark.parametrize("minutes", [-7, 0, 7])
def test_c3_what_is_fresh_is_just_now_by_any_browser_clock(visit: Visit, studio: Studio, minutes: int) -> None:
    job = studio.act(ALICE, title="fresh job", assigneeId=BOB)
    bob = visit(studio, BOB, clock_ms=minutes * 60_000)
    studio.notify(BOB, "fresh note")
    bob.expect_badge(2)
    inbox = bob.open_inbox()
    expect(inbox.locator("time")).to_have_text(["just now", "just now"])
    bob.page.keyboard.press("Escape")
    expect(bob.job_row(job)).to_contain_text("changed just now")


# C4: tabs and links


def test_c4_a_new_tab_by_ctrl_click_is_signed_in_and_shows_the_job(visit: Visit, studio: Studio) -> None:
    job = studio.act(ALICE, title="opened beside", assigneeId=BOB)
    bob = visit(studio, BOB)
    with bob.context.expect_page() as opened:
        bob.job_row(job).get_by_role("link").click(modifiers=["ControlOrMeta"])
    tab = opened.value
    heading(tab, "opened beside")
    bob.expect_connected(tab)
    # The first tab stayed where it was.
    expect(bob.page.get_by_test_id("queue")).to_be_visible()
    # The same from the inbox.
    inbox = bob.open_inbox()
    with bob.context.expect_page() as opened:
        inbox.locator("[data-main]").click(modifiers=["ControlOrMeta"])
    heading(opened.value, "opened beside")
    expect(inbox).to_be_visible()


def test_c4_a_shared_link_is_signed_in_where_a_tab_is_and_else_leads_to_the_job_after_the_sign_in(
    browser: Browser, visitors: list[Visitor], visit: Visit, studio: Studio
) -> None:
    job = studio.act(ALICE, title="shared job", assigneeId=BOB)
    bob = visit(studio, BOB)
    tab = bob.another_tab()
    tab.goto(job_url(bob, job))
    heading(tab, "shared job")
    # Somebody else, in a browser in which nobody is signed in.
    carol = open_visitor(browser, studio.site, "Carol")
    visitors.append(carol)
    carol.page.goto(job_url(carol, job))
    sign_in = carol.page.get_by_test_id("sign-in")
    sign_in.get_by_role("textbox", name="Token or sign-in link").fill(studio.token(CAROL))
    carol.click("Sign in", within=sign_in)
    heading(carol.page, "shared job")
    expect(carol.page).to_have_url(job_url(carol, job))


def test_c4_a_tab_at_the_sign_in_follows_a_link_opened_in_another_and_goes_where_it_was_to_go(
    browser: Browser, visitors: list[Visitor], studio: Studio
) -> None:
    job = studio.act(ALICE, title="waiting job", assigneeId=BOB)
    bob = open_visitor(browser, studio.site, "Bob")
    visitors.append(bob)
    bob.page.goto(job_url(bob, job))
    expect(bob.page.get_by_test_id("sign-in")).to_be_visible()
    bob.sign_in(studio.token(BOB), page=bob.another_tab())
    heading(bob.page, "waiting job")
    bob.expect_connected()


def test_c4_signing_out_ends_it_in_all_tabs_and_a_reload_stays_signed_out(visit: Visit, studio: Studio) -> None:
    bob = visit(studio, BOB)
    other = bob.another_tab()
    other.goto(studio.site.url)
    bob.expect_connected(other)
    # A colleague at the same machine has a tab of her own.
    colleague = bob.another_tab()
    bob.sign_in(studio.token(CAROL), page=colleague)
    bob.click("Account and settings")
    bob.click("Sign out")
    for tab in (bob.page, other):
        expect(tab.get_by_test_id("sign-in").get_by_role("status")).to_have_text("You are signed out.")
    other.reload()
    expect(other.get_by_test_id("sign-in").get_by_role("status")).to_have_text("You are signed out.")
    bob.expect_connected(colleague)
    stored = "Object.values({ ...localStorage, ...sessionStorage }).join()"
    assert "eyJ" not in other.evaluate(stored)
    assert "eyJ" not in colleague.evaluate("Object.values({ ...localStorage }).join()")


# C5: sign-in links while somebody is signed in


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_c5_somebody_else_s_link_asks_first(visit: Visit, studio: Studio, theme: str) -> None:
    bob = visit(studio, BOB, theme=theme)
    studio.notify(BOB, "for Bob alone")
    bob.expect_badge(1)
    link = f"{studio.site.url}/#token={studio.token(CAROL)}"
    question = bob.page.get_by_role("dialog", name="Switch to another account?")
    for answer in ("Stay signed in", "Escape"):
        bob.page.goto(link)
        expect(question).to_contain_text("Carol")
        expect(question.get_by_role("button", name="Stay signed in")).to_be_focused()
        assert "token" not in bob.page.url
        bob.expect_accessible()
        if answer == "Escape":
            bob.page.keyboard.press("Escape")
        else:
            bob.click(answer)
        expect(question).to_have_count(0)
        bob.expect_badge(1)
    bob.page.goto(link)
    bob.click("Switch account", within=question)
    expect(question).to_have_count(0)
    bob.expect_connected()
    bob.expect_badge(0)
    bob.page.reload()
    bob.expect_badge(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_c5_garbage_and_a_refused_token_change_nothing(visit: Visit, studio: Studio, theme: str) -> None:
    job = studio.act(ALICE, title="stays open", assigneeId=BOB)
    bob = visit(studio, BOB, theme=theme)
    bob.go_to_job(job)
    bob.page.evaluate("location.hash = '#/jobs/' + location.hash.split('/')[2] + '&token=garbage'")
    notice = bob.page.get_by_test_id("link-notice")
    expect(notice).to_contain_text("You are still signed in")
    heading(bob.page, "stays open")
    bob.expect_accessible()
    bob.click("Dismiss", within=notice)
    bob.expects(r"status of 401")
    for wrong in (studio.token(BOB, ttl=7200), studio.token(CAROL)):
        bob.page.evaluate("wrong => { location.hash = '#token=' + wrong }", wrong[:-4] + "AAAA")
        if wrong.startswith(studio.token(CAROL)[:60]):
            bob.click("Switch account")
        expect(notice).to_contain_text("does not accept the token")
        bob.click("Dismiss", within=notice)
    bob.expect_connected()
    bob.page.reload()
    bob.expect_connected()
    expect(bob.job_row(job)).to_be_visible()


def test_c5_a_fresh_link_of_one_s_own_is_taken_without_a_question(visit: Visit, studio: Studio) -> None:
    bob = visit(studio, BOB)
    fresh = studio.token(BOB, ttl=7 * 3600)
    bob.page.evaluate("fresh => { location.hash = '#token=' + fresh }", fresh)
    bob.page.wait_for_function("fresh => sessionStorage.getItem('djactors.token') === fresh", arg=fresh)
    bob.expect_connected()
    expect(bob.page.get_by_role("dialog")).to_have_count(0)


# C6: toasts


def covers(page: Page, selector: str) -> bool:
    """Whether a toast stands over an element, at any of its corners or its middle."""
    return bool(
        page.evaluate(
            """selector => {
              const { left, top, right, bottom } = document.querySelector(selector).getBoundingClientRect()
              const places = [[(left + right) / 2, (top + bottom) / 2]]
              for (const x of [left + 2, right - 2]) for (const y of [top + 2, bottom - 2]) places.push([x, y])
              return places.some(([x, y]) => document.elementFromPoint(x, y)?.closest('[data-testid=toast]'))
            }""",
            selector,
        )
    )


def test_c6_a_toast_waits_for_an_open_dialog_and_comes_afterwards(visit: Visit, studio: Studio) -> None:
    bob = visit(studio, BOB, size=PHONE)
    bob.click("New job")
    form = bob.page.get_by_test_id("create-job")
    form.get_by_role("textbox", name="Title").fill("made in peace")
    studio.notify(BOB, "not over the form", "CRITICAL")
    bob.expect_badge(1)
    expect(bob.page.get_by_test_id("announce-assertive")).to_contain_text("not over the form")
    expect(bob.page.get_by_test_id("toast")).to_have_count(0)
    bob.click("Create job", within=form)
    heading(bob.page, "made in peace")
    expect(bob.toast("not over the form")).to_be_visible()
    bob.expect_accessible()
    bob.expect_no_sideways_scroll()


@pytest.mark.parametrize("zoom", [1, 2], ids=["phone", "zoomed"])
def test_c6_a_toast_does_not_cover_the_comment_that_is_being_written(visit: Visit, studio: Studio, zoom: int) -> None:
    job = studio.act(ALICE, title="much discussed", assigneeId=BOB)
    # 200 % zoom of 1280 by 800 is a window of half of that.
    size = PHONE if zoom == 1 else (DESKTOP[0] // 2, DESKTOP[1] // 2)
    bob = visit(studio, BOB, size=size, device_scale_factor=zoom)
    bob.go_to_job(job)
    comment = bob.page.get_by_role("textbox", name="Comment")
    comment.fill("a long one")
    for block in ("start", "center", "end"):
        comment.evaluate("(one, block) => one.closest('form').scrollIntoView({ block })", block)
        comment.focus()
        studio.notify(BOB, f"meanwhile, at the {block}", "CRITICAL")
        expect(bob.page.get_by_test_id("announce-assertive")).to_contain_text(f"at the {block}")
        bob.settle()
        assert not covers(bob.page, "main textarea")
        assert not covers(bob.page, "form button[type=submit]")
    # Once it is sent and left, what waited is to be seen.
    bob.page.get_by_role("button", name=re.compile("^(Send|Comment)")).click()
    bob.page.evaluate("document.activeElement.blur()")
    expect(bob.toast("meanwhile").last).to_be_visible()


def test_c6_what_the_open_inbox_shows_has_no_toast(visit: Visit, studio: Studio) -> None:
    bob = visit(studio, BOB, size=PHONE)
    studio.notify(BOB, "before")
    expect(bob.toast("before")).to_be_visible()
    inbox = bob.open_inbox()
    expect(bob.page.get_by_test_id("toast")).to_have_count(0)
    studio.notify(BOB, "while it is open")
    expect(bob.item("while it is open")).to_be_visible()
    bob.page.keyboard.press("Escape")
    expect(inbox).to_have_count(0)
    studio.notify(BOB, "after it was closed")
    expect(bob.toast("after it was closed")).to_be_visible()
    expect(bob.page.get_by_test_id("toast")).to_have_count(1)


def test_c6_the_end_of_a_page_can_be_scrolled_above_the_toasts(visit: Visit, studio: Studio) -> None:
    for number in range(12):
        studio.act(ALICE, title=f"row {number}", assigneeId=BOB)
    bob = visit(studio, BOB, size=PHONE)
    expect(bob.page.get_by_test_id("job")).to_have_count(12)
    studio.notify(BOB, "stays below", "CRITICAL")
    expect(bob.toast("stays below")).to_be_visible()
    bob.page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    bob.settle()
    assert not covers(bob.page, "[data-testid=job]:last-child")


# C9: the Back button


@pytest.fixture
def with_cache(browser: Browser) -> Iterator[Browser]:
    """A Chromium that keeps pages for the Back button, as people's does and Playwright's does not."""
    cached = browser.browser_type.launch(
        executable_path=find_chromium(),
        args=["--no-sandbox"],
        ignore_default_args=["--disable-back-forward-cache"],
    )
    try:
        yield cached
    finally:
        cached.close()


def test_c9_a_page_that_comes_back_by_back_is_live_at_once(
    with_cache: Browser, visitors: list[Visitor], studio: Studio
) -> None:
    bob = open_visitor(with_cache, studio.site, "Bob", websocket=False)
    visitors.append(bob)
    bob.sign_in(studio.token(BOB))
    studio.notify(BOB, "before")
    bob.expect_badge(1)
    leave_and_come_back(bob, meanwhile=lambda: studio.notify(BOB, "meanwhile"))
    # Far less than the ping timeout, after which the stock client would notice by itself.
    expect(bob.page.get_by_test_id("notification-badge")).to_have_attribute("data-count", "2", timeout=PATIENCE_MS)
    bob.expect_connected()
    studio.notify(BOB, "live again")
    expect(bob.toast("live again")).to_be_visible()


def test_c9_the_guide_s_lines_do_the_same_for_the_stock_client(
    with_cache: Browser, visitors: list[Visitor], studio: Studio
) -> None:
    [lines] = re.findall(r"^  ```js\n(.*?)^  ```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert "pageshow" in lines
    host = open_visitor(with_cache, studio.site, "a host's page", websocket=False)
    visitors.append(host)
    # The page that is there, with nobody signed in, stands for the host's.
    host.page.goto(studio.site.url)
    host.page.add_script_tag(url="/socket.io/socket.io.min.js")
    host.page.evaluate(
        """token => {
          window.heard = []
          window.socket = io({ auth: { token } })
          socket.on('notification:new', ({ title }) => heard.push(title))
        }""",
        studio.token(BOB),
    )
    host.page.evaluate(lines)
    host.page.wait_for_function("() => socket.connected")
    studio.notify(BOB, "before")
    host.page.wait_for_function("() => heard.length === 1")
    leave_and_come_back(host, meanwhile=lambda: studio.notify(BOB, "meanwhile"))
    host.page.wait_for_function("() => heard.length === 2")
    assert host.page.evaluate("heard") == ["before", "meanwhile"]


def leave_and_come_back(visitor: Visitor, meanwhile: Callable[[], object]) -> None:
    """Follow a link to another page and press Back; the browser must have kept the page."""
    visitor.page.evaluate("addEventListener('pageshow', ({ persisted }) => { window.cameFromCache = persisted })")
    # A page that is none of ours; the browser asks for an icon of it.
    visitor.expects(r"status of 404")
    visitor.page.goto(f"{visitor.site.url}/healthz")
    meanwhile()
    # A page of the cache is shown, and not loaded.
    visitor.page.go_back(wait_until="commit")
    visitor.page.wait_for_function("() => window.cameFromCache")


# The observer


def test_the_observer_s_charts_begin_with_what_has_been(visit: Visit, studio: Studio) -> None:
    ada = visit(studio, ADA)
    studio.notify(ADA, "counted before anybody looked")
    ada.expect_badge(1)
    # The server looks at its counters once a second.
    ada.page.wait_for_function(
        """async token => {
          const headers = { Authorization: `Bearer ${token}` }
          const answer = await fetch('/api/admin/actors?history=true', { headers })
          return (await answer.json()).history.length >= 3
        }""",
        arg=studio.token(ADA),
        polling=500,
    )
    ada.page.get_by_role("link", name="Observer").click()
    chart = ada.page.get_by_test_id("chart-throughput")
    expect(chart.locator("path").first).to_be_attached()
    # Before the second look could be answered.
    assert len(re.findall("L", str(chart.locator("path").first.get_attribute("d")))) >= 2
    expect(chart.get_by_role("img")).not_to_have_attribute("aria-label", re.compile("not known"))

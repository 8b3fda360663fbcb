"""What others wrote is text, whatever it looks like: no script runs, nothing is fetched, the policy reports nothing.

That nothing was reported, in the console or by the policy, is asserted of every test when its people leave.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.web.conftest import Visit
from tests.web.site import ALICE, BOB, NOK, Site, Studio
from tests.web.visitor import PHONE, Visitor

HOSTILE = {
    "script": "<script>window.ran = 1</script>",
    "image": '<img src=x onerror="window.ran = 1">',
    "svg": "<svg onload=window.ran=1><style>*{display:none}</style>",
    "breaking out": "\"'></title></textarea></script><iframe srcdoc='<script>parent.ran=1</script>'>",
    "template": "${window.ran=1} {{constructor.constructor('window.ran=1')()}} %(ran)s",
    "right to left": "\u202e\u2067" + "مرحبا بالعالم " * 12 + "\u202e<b>gpj.exe",
    "one long word": "W" * 250,
    "stacked marks": "Z" + "\u0301\u0489" * 80,
}


def never_ran(visitor: Visitor) -> None:
    assert visitor.page.evaluate("window.ran") is None
    assert visitor.page.locator("iframe, #root img, [onerror], [onload]").count() == 0


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("size", [(1280, 800), PHONE], ids=["desktop", "phone"])
def test_row_28_a_hostile_title_name_and_message_are_shown_as_text(
    visit: Visit, site: Site, text: str, size: tuple[int, int]
) -> None:
    studio = Studio(site, names={BOB: text, NOK: text})
    bob = visit(studio, BOB, size=size)
    job = studio.act(ALICE, title=text, assigneeId=BOB, approverId=NOK)
    expect(bob.page.get_by_test_id("toast")).to_contain_text(text.strip())
    expect(bob.job_row(job)).to_contain_text(text.strip())
    bob.expect_no_sideways_scroll()
    studio.act(BOB, f"/{job['id']}/submit")
    studio.act(NOK, f"/{job['id']}/reject", reason=text)
    bob.expect_badge(2)
    bob.open_inbox()
    expect(bob.page.get_by_test_id("notification").first).to_contain_text(text.strip())
    never_ran(bob)
    bob.expect_no_sideways_scroll()
    bob.page.get_by_test_id("notification").first.locator("[data-main]").click()
    expect(bob.page.get_by_test_id("job-detail").get_by_role("heading", level=1)).to_contain_text(text.strip())
    bob.click("Account and settings")
    expect(bob.page.get_by_test_id("settings")).to_contain_text(text.strip()[:20])
    bob.expect_no_sideways_scroll()
    never_ran(bob)


def test_row_28_a_link_in_a_message_is_a_link_only_where_it_leads_to_the_web(visit: Visit, studio: Studio) -> None:
    bob = visit(studio, BOB)
    message = (
        "see https://example.com/a?b=1. not javascript:window.ran=1 or data:text/html,<script>window.ran=1</script>"
    )
    studio.notify(BOB, "https://example.com/title javascript:window.ran=1", message=message)
    bob.expect_badge(1)
    bob.open_inbox()
    item = bob.page.get_by_test_id("notification")
    expect(item).to_contain_text(message)
    link = item.get_by_role("link")
    expect(link).to_have_count(1)
    expect(link).to_have_attribute("href", "https://example.com/a?b=1")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(link).to_have_attribute("target", "_blank")
    never_ran(bob)


def test_data_of_a_notification_cannot_lead_out_of_the_page(visit: Visit, studio: Studio) -> None:
    bob = visit(studio, BOB)
    studio.notify(BOB, "click me", data={"jobId": "javascript:window.ran=1", "url": "https://example.com/"})
    bob.expect_badge(1)
    bob.open_inbox()
    bob.item("click me").locator("[data-main]").click()
    bob.expect_badge(0)
    expect(bob.page).to_have_url(studio.site.url + "/")
    never_ran(bob)


def test_an_address_that_is_no_job_says_so(visit: Visit, studio: Studio) -> None:
    bob = visit(studio, BOB)
    bob.expects(r"status of 404")
    bob.page.evaluate("location.hash = '#/jobs/9007199254740991'")
    expect(bob.page.get_by_text("There is no such job")).to_be_visible()
    bob.page.evaluate("location.hash = '#/jobs/<img src=x onerror=window.ran=1>'")
    expect(bob.page.get_by_test_id("queue")).to_be_visible()
    never_ran(bob)

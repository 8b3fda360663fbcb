"""F9: clients that poll by JSONP are told that nobody serves it, in words that they show."""

import json
import re

import pytest

from djactors.engine._jsonp import MESSAGE, OLD_MESSAGE
from tests.engine.clients import Answer, Served

FOREIGN = [("Sec-Fetch-Site", "cross-site")]
"""How a script asks that a page of another site loads: without an Origin."""


def called_with(answer: Answer, number: str) -> str:
    """What the client's function is called with."""
    assert (answer.status, answer.headers["content-type"]) == (200, "text/javascript; charset=UTF-8")
    assert answer.headers["cache-control"] == "no-store"
    call = re.fullmatch(rf'___eio\[{number}\]\((".*")\);', answer.body)
    assert call is not None, answer.body
    return str(json.loads(call[1]))


@pytest.mark.parametrize(
    ("sent", "number"),
    [("0", "0"), ("17", "17"), ("", "0"), ("x", "0"), ("0](alert(1));//", "01"), ("9" * 50, "9" * 9), ("\u0661", "0")],
)
async def test_f9_the_client_s_function_is_called_with_a_refusal(autojump_clock, calm: Served, sent: str, number: str):
    # Sent even where it is empty, which `urlencode` of the helper would leave out.
    answer = await calm.get(headers=FOREIGN, j=sent or "_")
    opened, refused, closed = called_with(answer, number).split("\x1e")
    assert set(json.loads(opened.removeprefix("0"))) >= {"sid", "upgrades", "pingInterval", "pingTimeout"}
    assert json.loads(refused.removeprefix("44")) == {"message": MESSAGE}
    assert closed == "1"
    assert calm.log.refusals == ["jsonp"]
    assert calm.application.sessions(calm.path) == []


async def test_f9_a_client_of_the_revision_before_is_told_in_its_own_form(autojump_clock, calm: Served):
    payload = called_with(await calm.get(headers=FOREIGN, EIO="3", j="0"), "0")
    packets = []
    while payload:
        length, _, payload = payload.partition(":")
        packets.append(payload[: int(length)])
        payload = payload[int(length) :]
    assert packets[1:] == [f'44"{OLD_MESSAGE}"', "1"]
    assert packets[0].startswith("0{")


async def test_f9_only_a_handshake_by_polling_is_taken_for_jsonp(autojump_clock, calm: Served):
    assert (await calm.get("unknown", j="0")).error_code == 1
    assert (await calm.post(None, "d=4", j="0")).error_code == 2
    assert (await calm.get(transport="websocket", j="0")).error_code == 3
    assert (await calm.get(transport="", j="0")).error_code == 0
    await calm.websocket_session(j="0")
    assert calm.log.refusals
    assert "jsonp" not in calm.log.refusals

"""`djactors.Client` and its twin: retries, keys, waits, batches and errors, by one suite for both."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import trio
from trio.testing import MockClock

import djactors
from djactors.client import (
    ApiError,
    Client,
    DjactorsError,
    Published,
    RetryPolicy,
    TrioClient,
    UnreachableError,
    signed_by,
)
from djactors.client._publishing import _BUSY
from djactors.domain.events import JobAssigned, JobCreated, NotificationRequested
from djactors.edge.errors import STATUS
from tests.serving import SECRET, make_token, service_token, serving

URL = "https://notify.test"
EVENT = NotificationRequested(tenant_id=1, user_id=2, notification_type="news", priority="LOW", title="Hello")
GOOD = {"eventId": 5, "seq": 7, "notifications": [{"id": 1, "userId": 2, "type": "news"}], "suppressed": []}
STEADY = RetryPolicy(jitter=0.0)

Handler = Callable[[httpx.Request], httpx.Response]


class Server:
    """Answers in turn, and keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, httpx.Response)
        # One that was read by the blocking client is of no use to its twin.
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        return httpx.Response(answer.status_code, headers=headers, content=answer.content)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]


def busy(status: int = 503, retry_after: str | None = None) -> httpx.Response:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    code = {429: "too_many_requests", 503: "unavailable"}.get(status, "x")
    return httpx.Response(status, headers=headers, json={"error": {"code": code, "message": "later"}})


def created(body: Any = None) -> httpx.Response:
    return httpx.Response(201, json=GOOD if body is None else body)


class Twins:
    """One call, by the blocking client or by its twin; `waits` are the seconds that it waited."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.waits: list[float] = []
        self._time = 0.0

    async def __call__(self, method: str, argument: Any, server: Handler, token: Any = "t", **options: Any) -> Any:
        numbers = count(1)
        options = {"retries": STEADY, "new_key": lambda: f"key-{next(numbers)}", "random": lambda: 0.5, **options}
        transport = httpx.MockTransport(server)
        if self.kind == "trio":
            begun = trio.current_time()
            async with TrioClient(URL, token, transport=transport, **options) as client:
                try:
                    return await getattr(client, method)(argument)
                finally:
                    self.waits = [trio.current_time() - begun]
        with Client(URL, token, transport=transport, now=lambda: self._time, wait=self._wait, **options) as blocking:
            return getattr(blocking, method)(argument)

    def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self._time += seconds

    @property
    def waited(self) -> float:
        return round(sum(self.waits), 6)


@pytest.fixture(params=["blocking", "trio"])
def ask(request: pytest.FixtureRequest) -> Twins:
    return Twins(request.param)


async def test_an_event_is_published_under_a_key_of_its_own(autojump_clock: MockClock, ask: Twins) -> None:
    server = Server(created())
    published = await ask("publish", EVENT, server)
    assert (published.event_id, published.seq, published.repeated) == (5, 7, False)
    assert (published.notifications[0].user_id, published.suppressed) == (2, [])
    [request] = server.requests
    assert (request.method, str(request.url)) == ("POST", f"{URL}/api/events")
    assert request.headers["authorization"] == "Bearer t"
    assert server.bodies[0]["id"] == "key-1"


async def test_an_event_that_has_a_key_keeps_it(autojump_clock: MockClock, ask: Twins) -> None:
    server = Server(httpx.Response(200, json=GOOD))
    published = await ask("publish", JobAssigned(tenant_id=1, job_id=1, assignee_id=2, id="mine"), server)
    assert (server.bodies[0]["id"], published.repeated) == ("mine", True)


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("cut"),
        httpx.RemoteProtocolError("nonsense"),
        busy(503),
        busy(502),
        busy(429),
    ],
    ids=["refused", "cut", "nonsense", "503", "502", "429"],
)
async def test_what_a_retry_can_mend_is_sent_again_as_it_was(
    autojump_clock: MockClock, ask: Twins, failure: Any
) -> None:
    server = Server(failure, failure, failure, created())
    assert (await ask("publish", EVENT, server)).event_id == 5
    assert ask.waited == 0.25 + 0.5 + 1.0
    assert len({request.content for request in server.requests}) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_the_servers_wish_for_a_wait_is_honoured(autojump_clock: MockClock, ask: Twins, status: int) -> None:
    server = Server(busy(status, "7"), created())
    await ask("publish", EVENT, server)
    assert ask.waited == 7
    ask = Twins(ask.kind)
    await ask("publish", EVENT, Server(busy(status, "7"), created()), retries=RetryPolicy(jitter=0.4))
    # The random part is added, so that not all come back at once.
    assert ask.waited == pytest.approx(7 + 0.25 * (1 - 0.4 * 0.5) * 0.4)


@pytest.mark.parametrize("retry_after", ["61", "29.5", "3600"])
async def test_a_wish_that_is_too_long_fails_at_once(autojump_clock: MockClock, ask: Twins, retry_after: str) -> None:
    policy = RetryPolicy(timeout=20, jitter=0.0)
    with pytest.raises(ApiError) as caught:
        await ask("publish", EVENT, lambda request: busy(429, retry_after), retries=policy)
    assert caught.value.code == "too_many_requests"
    if retry_after != "29.5":
        assert (caught.value.retry_after, ask.waited) == (float(retry_after), 0)


async def test_it_gives_up_when_there_is_no_time_left(autojump_clock: MockClock, ask: Twins) -> None:
    calls: list[httpx.Request] = []

    def away(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        raise httpx.ConnectError("refused")

    with pytest.raises(UnreachableError, match="no answer within 30 s, the last time: ConnectError refused"):
        await ask("publish", EVENT, away)
    assert 25 < ask.waited < 30
    assert len(calls) == 10


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "invalid"), (403, "forbidden"), (409, "conflict"), (422, "idempotency_key_reused"), (500, "internal")],
)
async def test_what_a_retry_cannot_mend_is_told_at_once(
    autojump_clock: MockClock, ask: Twins, status: int, code: str
) -> None:
    server = Server(httpx.Response(status, json={"error": {"code": code, "message": "title: is wrong"}}))
    with pytest.raises(ApiError, match="title: is wrong") as caught:
        await ask("publish", EVENT, server)
    assert (caught.value.code, caught.value.status) == (code, status)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, text="<html>no such page</html>"),
        httpx.Response(302, headers={"Location": "https://elsewhere.test"}),
        httpx.Response(400, content=b"\xff"),
    ],
)
async def test_what_no_djactors_answered_is_an_error_too(
    autojump_clock: MockClock, ask: Twins, answer: httpx.Response
) -> None:
    server = Server(answer)
    with pytest.raises(ApiError) as caught:
        await ask("publish", EVENT, server)
    assert caught.value.code == f"http_{answer.status_code}"
    assert len(server.requests) == 1


async def test_a_good_status_with_nonsense_is_no_success(autojump_clock: MockClock, ask: Twins) -> None:
    for body in (b"<html>", b"{}", b"[1]"):
        with pytest.raises(DjactorsError, match="none of djactors"):
            await ask("publish", EVENT, Server(httpx.Response(200, content=body)))


async def test_a_refused_token_is_replaced_once(autojump_clock: MockClock, ask: Twins) -> None:
    refusal = httpx.Response(401, json={"error": {"code": "unauthorized", "message": "expired"}})
    tokens = iter(["old", "new", "newer"])
    server = Server(refusal, created())
    await ask("publish", EVENT, server, token=lambda: next(tokens))
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer old", "Bearer new"]
    with pytest.raises(ApiError, match="expired"):
        await ask("publish", EVENT, Server(refusal, refusal), token=lambda: next(iter(["t"])))
    with pytest.raises(ApiError, match="expired"):
        await ask("publish", EVENT, Server(refusal))


async def test_a_wrong_event_never_leaves(autojump_clock: MockClock, ask: Twins) -> None:
    server = Server()
    for event, named in (
        (JobCreated(tenant_id=0, title="x", requester_id=1), "tenantId"),
        (JobCreated(tenant_id=1, title="x" * 256, requester_id=1), "title"),
        ({"type": "job.created"}, "expected a domain event"),
    ):
        with pytest.raises(ApiError, match=named) as caught:
            await ask("publish", event, server)
        assert caught.value.code == "invalid"
    assert server.requests == []


def results_of(request: httpx.Request) -> list[dict[str, Any]]:
    return [{**GOOD, "eventId": int(item["title"])} for item in json.loads(request.content)]


def numbered(number: int, **more: Any) -> NotificationRequested:
    return NotificationRequested(
        tenant_id=1, user_id=2, notification_type="news", priority="LOW", title=str(number), **more
    )


def whole_batch(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"results": results_of(request)})


async def test_many_events_go_in_few_requests_in_order(autojump_clock: MockClock, ask: Twins) -> None:
    server = Server(whole_batch, whole_batch, whole_batch)
    outcomes = await ask("publish_all", [numbered(number) for number in range(2500)], server)
    assert [outcome.event_id for outcome in outcomes] == list(range(2500))
    assert [len(body) for body in server.bodies] == [1000, 1000, 500]
    assert len({item["id"] for body in server.bodies for item in body}) == 2500
    large = [numbered(number, message="x" * 3999) for number in range(600)]
    server = Server(*[whole_batch] * 3)
    assert len(await ask("publish_all", large, server)) == 600
    assert all(len(request.content) <= 2**20 + 2 for request in server.requests)
    commas = [numbered(number, data={"a": [1] * 2000}) for number in range(100)]
    server = Server(*[whole_batch] * 4)
    assert len(await ask("publish_all", commas, server)) == 100
    assert all(request.content.count(b",") <= 65_536 for request in server.requests)
    assert await ask("publish_all", [], Server()) == []


async def test_what_is_wrong_with_one_event_is_told_in_its_place(autojump_clock: MockClock, ask: Twins) -> None:
    def one_missing(request: httpx.Request) -> httpx.Response:
        results: list[Any] = results_of(request)
        results[1] = {"error": {"code": "not_found", "message": "not found"}}
        return httpx.Response(200, json={"results": results})

    events = [numbered(0), numbered(1), JobCreated(tenant_id=1, title="", requester_id=1), numbered(3)]
    outcomes = await ask("publish_all", events, Server(one_missing))
    assert [type(outcome) for outcome in outcomes] == [Published, ApiError, ApiError, Published]
    assert [outcome.code for outcome in outcomes[1:3]] == ["not_found", "invalid"]
    assert outcomes[3].event_id == 3


async def test_events_for_which_the_server_was_too_busy_are_sent_again_alone(
    autojump_clock: MockClock, ask: Twins
) -> None:
    def half(request: httpx.Request) -> httpx.Response:
        results: list[Any] = results_of(request)
        results[len(results) // 2 :] = [{"error": {"code": "unavailable", "message": "later"}}] * (
            len(results) - len(results) // 2
        )
        return httpx.Response(200, json={"results": results})

    server = Server(half, half, whole_batch)
    outcomes = await ask("publish_all", [numbered(number) for number in range(8)], server)
    assert [outcome.event_id for outcome in outcomes] == list(range(8))
    assert [[item["title"] for item in body] for body in server.bodies] == [
        ["0", "1", "2", "3", "4", "5", "6", "7"],
        ["4", "5", "6", "7"],
        ["6", "7"],
    ]
    outcomes = await ask("publish_all", [numbered(0), numbered(1)], half)
    assert [getattr(outcome, "code", None) for outcome in outcomes] == [None, "unavailable"]


async def test_a_request_that_fails_as_a_whole_leaves_the_others_as_they_are(
    autojump_clock: MockClock, ask: Twins
) -> None:
    refusal = httpx.Response(413, json={"error": {"code": "body_too_large", "message": "split it"}})
    server = Server(whole_batch, refusal, lambda request: httpx.Response(200, json={"results": []}))
    outcomes = await ask("publish_all", [numbered(number) for number in range(2001)], server)
    assert outcomes[999].event_id == 999
    assert outcomes[1000].code == "body_too_large"
    assert "none of djactors" in str(outcomes[2000])


async def test_a_batch_does_not_wait_for_a_server_that_is_away_again_and_again(
    autojump_clock: MockClock, ask: Twins
) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    server = Server(whole_batch, *[away] * 100)
    outcomes = await ask("publish_all", [numbered(number) for number in range(5000)], server)
    assert outcomes[999].event_id == 999
    assert {type(outcome) for outcome in outcomes[1000:]} == {UnreachableError}
    assert ask.waited < 30


@pytest.mark.parametrize("kind", [Client, TrioClient])
@pytest.mark.parametrize(
    "url",
    [
        "notify.test",
        "ftp://notify.test",
        "http://",
        "http://u:p@notify.test",
        "http://a/?b",
        "http://a:99999",
        "http://a:0",
    ],
)
def test_a_wrong_address_is_named(kind: Callable[..., object], url: str) -> None:
    with pytest.raises(ValueError, match=r"^url: "):
        kind(url, "token")


@pytest.mark.parametrize("kind", [Client, TrioClient])
@pytest.mark.parametrize("token", ["", "a b", "é", "a\n", None, b"token", 5])
def test_a_wrong_token_is_named_and_not_shown(kind: Callable[..., Any], token: object) -> None:
    # None is what an environment without the variable gives.
    with pytest.raises(DjactorsError, match=r"^token: is no JWT: give the text that your backend has signed"):
        kind(URL, token)


@pytest.mark.parametrize("field", ["timeout", "attempt_timeout", "delay", "max_retry_after"])
def test_a_wrong_policy_is_named(field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        RetryPolicy(**{field: -1})


async def test_what_is_json_already_is_sent_as_it_is_in_one_request(autojump_clock: MockClock, ask: Twins) -> None:
    bodies = [b'{"id": "%d", "title": "\\u00e9"}' % number for number in range(1001)]
    server = Server(busy(), lambda request: httpx.Response(200, json={"results": [GOOD] * 1000}))
    outcomes = await ask("publish_json", bodies, server)
    assert len(outcomes) == 1000, "as many as a request may hold"
    assert all(isinstance(outcome, Published) for outcome in outcomes)
    assert [request.content for request in server.requests] == [b"[" + b",".join(bodies[:1000]) + b"]"] * 2
    assert await ask("publish_json", [], Server()) == []


async def test_a_request_of_json_that_fails_says_whether_it_failed_as_a_whole(
    autojump_clock: MockClock, ask: Twins
) -> None:
    bad = {"error": {"code": "unavailable", "message": "later"}}
    outcomes = await ask("publish_json", [b"{}", b"{}"], Server(httpx.Response(200, json={"results": [GOOD, bad]})))
    assert (type(outcomes[0]), outcomes[1].code, outcomes[1].status) == (Published, "unavailable", None)
    refused = httpx.Response(413, json={"error": {"code": "body_too_large", "message": "at most"}})
    outcomes = await ask("publish_json", [b"{}", b"{}"], Server(refused))
    assert [outcome.status for outcome in outcomes] == [413, 413]


def test_a_backend_that_has_the_secret_signs_its_own_tokens() -> None:
    sign = signed_by(SECRET, 3, now=lambda: 1000.0)
    claims = jwt.decode(sign(), SECRET, ["HS256"], options={"verify_exp": False})
    assert claims == {"role": "service", "tenantId": 3, "iat": 1000, "exp": 4600}
    assert "tenantId" not in jwt.decode(signed_by(SECRET)(), SECRET, ["HS256"])
    with pytest.raises(DjactorsError, match="secret: must have at least 32 bytes") as refused:
        signed_by("kept-quiet")
    assert "kept-quiet" not in str(refused.value)


async def test_a_served_process_records_each_event_once(tmp_path: Path) -> None:
    def blocking(url: str) -> None:
        with djactors.Client(url, service_token(1)) as client:
            first = client.publish(numbered(0, id="zero"))
            again = client.publish(numbered(0, id="zero"))
            assert (first.event_id, first.repeated) == (again.event_id, False)
            assert again.repeated
            with pytest.raises(ApiError, match="idempotency_key_reused"):
                client.publish(numbered(1, id="zero"))
            client.publish(JobCreated(tenant_id=1, title="Banner", requester_id=1))
            with pytest.raises(ApiError, match="not_found"):
                client.publish(JobAssigned(tenant_id=1, job_id=99, assignee_id=2))
            outcomes = client.publish_all([numbered(number) for number in range(20)])
            assert all(isinstance(outcome, Published) for outcome in outcomes)

    async with serving(tmp_path) as server:
        await trio.to_thread.run_sync(blocking, server.url)
        async with TrioClient(server.url, signed_by(SECRET, 1)) as client:
            published = await client.publish(numbered(21))
            assert published.notifications[0].user_id == 2
        token = make_token(tenant_id=1, user_id=2)
        answer = await server.request("GET", "/api/notifications/unread-count", token=token)
        assert answer.json["count"] == 22
        async with TrioClient(server.url, token) as client:
            with pytest.raises(ApiError, match="forbidden"):
                await client.publish(numbered(22))


def test_what_the_server_calls_passing_is_sent_again() -> None:
    assert {str(code) for code, status in STATUS.items() if status in (429, 503)} == _BUSY

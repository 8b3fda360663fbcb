"""One id from the post to the socket: in the log, and in exported spans; and nothing of it where nobody looks."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import trio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind

from djactors.app import Server
from djactors.domain.commands import Change, Publish
from djactors.domain.errors import Refused
from djactors.domain.events import JobAssigned, NotificationRequested
from djactors.telemetry import Telemetry, Traces, make_logger
from djactors.telemetry.exporting import spans_of, wants_spans
from djactors.telemetry.otel import MAX_DELIVERED, MAX_WAITING, OtelSpans
from djactors.telemetry.traces import DELIVERIES_TRACED
from tests.operations.test_embedding import PATIENCE, settings
from tests.serving import Answer, make_token, send_request, service_token, serving

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"
EVENT = {"type": "job.created", "tenantId": 1, "title": "Banner", "requesterId": 1, "assigneeId": 7}
SECRET_TITLE = "a title that nobody but its readers may see"


class Watched:
    """A running server, what it logs and what it exports."""

    def __init__(self, server: Server, log: io.StringIO, exporter: InMemorySpanExporter) -> None:
        self.server = server
        self._log = log
        self._exporter = exporter

    def entries(self, event: str) -> list[dict[str, Any]]:
        entries = [json.loads(line) for line in self._log.getvalue().splitlines()]
        return [entry for entry in entries if entry["event"] == event]

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if name in (None, span.name)]

    async def post(self, body: Any = EVENT, path: str = "/api/events", traceparent: str = SAMPLED) -> Answer:
        headers = {"traceparent": traceparent}
        return await send_request(self.server.url, "POST", path, token=service_token(), body=body, headers=headers)

    async def connect(self, user_id: int) -> None:
        """Connect a user by polling, and leave the socket open."""
        path = "/socket.io/?EIO=4&transport=polling"
        opened = await send_request(self.server.url, "GET", path)
        sid = json.loads(opened.body[1:])["sid"]
        path = f"{path}&sid={sid}"
        auth = json.dumps({"token": make_token(tenant_id=1, user_id=user_id)})
        await send_request(self.server.url, "POST", path, body=f"40{auth}".encode())
        answer = await send_request(self.server.url, "GET", path)
        assert answer.body.startswith(b"40{"), answer.body


@asynccontextmanager
async def watched(folder: Path, *, level: str = "debug", spans: bool = True) -> AsyncIterator[Watched]:
    log, exporter = io.StringIO(), InMemorySpanExporter()
    exported = OtelSpans(provider(exporter)) if spans else None
    server = Server(settings(folder), telemetry=Telemetry(make_logger("json", level, log), spans=exported))
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            yield Watched(server, log, exporter)
            server.request_stop()


def provider(exporter: InMemorySpanExporter, **more: Any) -> TracerProvider:
    made = TracerProvider(shutdown_on_exit=False, **more)
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made


# The log


async def test_the_log_has_one_id_from_the_post_to_the_socket(tmp_path: Path) -> None:
    async with watched(tmp_path, spans=False) as house:
        await house.connect(7)
        answer = await house.post()
        assert answer.headers["traceresponse"][3:35] == TRACE
        [recorded] = house.entries("event recorded")
        [delivered] = house.entries("event delivered")
        assert recorded["trace_id"] == delivered["trace_id"] == TRACE
        assert (delivered["tenant_id"], delivered["user_id"], delivered["sockets"]) == (1, 7, 1)
        changes = await send_request(
            house.server.url, "GET", "/api/changes?since=.0", token=make_token(tenant_id=1, user_id=7)
        )
        # Whoever has the packet has its offset, and finds the entry by that.
        assert delivered["offset"] == changes.json["items"][-1]["offset"]
        assert "traceparent" not in changes.body.decode()


async def test_what_brings_no_change_of_a_post_has_no_id(tmp_path: Path) -> None:
    async with watched(tmp_path, spans=False) as house:
        await house.connect(7)
        await house.post()
        token = make_token(tenant_id=1, user_id=7)
        await send_request(house.server.url, "POST", "/api/notifications/read-all", token=token)
        assert [entry["trace_id"] for entry in house.entries("event delivered")] == [TRACE]


async def test_an_embedding_program_gives_the_id_of_its_own_trace(tmp_path: Path) -> None:
    async with watched(tmp_path) as house:
        await house.server.publish(JobAssigned(tenant_id=1, job_id=5, assignee_id=7), traceparent=SAMPLED)
        [recorded] = house.entries("event recorded")
        assert recorded["trace_id"] == TRACE
        with pytest.raises(Refused):
            await house.server.publish(
                NotificationRequested(tenant_id=0, user_id=1, notification_type="x", priority="LOW", title="x"),
                traceparent=SAMPLED,
            )
        posts = [span for span in house.spans() if span.kind is SpanKind.SERVER]
        assert {span.name for span in posts} == {"publish"}
        assert [span.attributes["http.response.status_code"] for span in posts if span.attributes] == [200, 400]


async def test_nobody_who_looks_costs_nothing_behind_the_post(tmp_path: Path) -> None:
    log = io.StringIO()
    traces = Traces(make_logger("json", "info", log))
    assert not traces.followed
    assert traces.committing([Publish(JobAssigned(tenant_id=1, job_id=5, assignee_id=7), trace=SAMPLED)]) is None
    async with watched(tmp_path, level="info", spans=False) as house:
        await house.connect(7)
        await house.post()
        assert not house.server.telemetry.traces.followed
        assert house.entries("event delivered") == house.entries("event recorded") == []


# Spans


async def test_a_post_is_a_trace_of_its_wait_its_commit_and_its_deliveries(tmp_path: Path) -> None:
    async with watched(tmp_path) as house:
        await house.connect(7)
        await house.connect(8)
        answer = await house.post({**EVENT, "title": SECRET_TITLE})
        [post] = [span for span in house.spans() if span.kind is SpanKind.SERVER]
        [wait], [commit] = house.spans("router wait"), house.spans("commit")
        deliveries = house.spans("delivery")
        assert post.name == "POST /api/events"
        assert post.parent is not None
        assert (f"{post.parent.span_id:016x}", post.parent.is_remote) == (PARENT, True)
        assert answer.headers["traceresponse"] == f"00-{TRACE}-{post.context.span_id:016x}-01"
        assert post.attributes is not None
        assert post.attributes["http.response.status_code"] == 201
        assert sorted(span.attributes["djactors.user_id"] for span in deliveries if span.attributes) == [7, 8]
        for span in (wait, commit, *deliveries):
            assert f"{span.context.trace_id:032x}" == TRACE
            assert span.parent is not None
            assert span.parent.span_id == post.context.span_id
            assert span.start_time is not None
            assert span.end_time is not None
            assert span.start_time <= span.end_time
        assert wait.end_time == commit.start_time
        assert SECRET_TITLE not in "".join(span.to_json() for span in house.spans())


async def test_a_batch_is_one_trace_with_a_span_for_each_commit(tmp_path: Path) -> None:
    async with watched(tmp_path) as house:
        answer = await house.post([EVENT] * 3, "/api/events/batch")
        assert answer.status == 200
        [commit] = house.spans("commit")
        assert commit.attributes == {"djactors.commit.commands": 3}
        assert len(house.spans("router wait")) == 1


async def test_what_the_client_does_not_sample_is_not_exported(tmp_path: Path) -> None:
    async with watched(tmp_path) as house:
        await house.connect(7)
        answer = await house.post(traceparent=UNSAMPLED)
        assert answer.headers["traceresponse"][3:35] == TRACE
        assert answer.headers["traceresponse"].endswith("-00")
        assert [span for span in house.spans() if f"{span.context.trace_id:032x}" == TRACE] == []


async def test_a_path_with_an_id_has_no_name_of_its_own(tmp_path: Path) -> None:
    async with watched(tmp_path) as house:
        token = make_token(tenant_id=1, user_id=1)
        await send_request(house.server.url, "POST", "/api/jobs/4711/approve", token=token)
        [post] = [span for span in house.spans() if span.kind is SpanKind.SERVER]
        assert post.name == "POST /api/jobs/{id}/approve"
        assert post.attributes is not None
        assert post.attributes["http.response.status_code"] == 404


async def test_whoever_may_post_nothing_makes_no_spans(tmp_path: Path) -> None:
    async with watched(tmp_path) as house:
        for path in ("/api/events", "/api/jobs", "/api/jobs/5/approve", "/nothing"):
            for token in (None, make_token(role="user", tenant_id=1, user_id=1, ttl=-3600)):
                await send_request(house.server.url, "POST", path, token=token, headers={"traceparent": SAMPLED})
        await house.post(path="/api/nothing")
        assert house.spans() == []


def test_spans_of_deliveries_are_bounded() -> None:
    exporter = InMemorySpanExporter()
    spans = OtelSpans(provider(exporter))
    for user in range(DELIVERIES_TRACED + 5):
        spans.delivered(SAMPLED, 0.001, 1, user, 1)
    assert len(exporter.get_finished_spans()) == DELIVERIES_TRACED
    for number in range(MAX_WAITING + 5):
        spans.asked(f"00-{number + 1:032x}-{PARENT}-01")
        spans.delivered(f"00-{number + 1:032x}-{PARENT}-01", 0.001, 1, 1, 1)
    assert len(spans._asked) == MAX_WAITING
    assert len(spans._delivered) == MAX_DELIVERED


def test_an_id_is_made_up_by_the_exporter_where_nothing_is_sampled() -> None:
    spans = OtelSpans(provider(InMemorySpanExporter(), sampler=ParentBased(ALWAYS_OFF)))
    traces = Traces(make_logger("json", "info", io.StringIO()), spans)
    trace = traces.begin(None)
    text = traces.follow(trace, "/api/events")
    assert text == trace.text
    assert text.endswith("-00")
    assert text[3:35] != "0" * 32
    trace.end(201)


def test_a_failed_commit_names_the_class_of_its_error_only() -> None:
    exporter = InMemorySpanExporter()
    OtelSpans(provider(exporter)).committing([SAMPLED], 1).done(ValueError(SECRET_TITLE))
    [commit] = exporter.get_finished_spans()
    assert commit.status.description == "ValueError"
    assert not commit.status.is_ok


def test_changes_of_one_event_are_told_once() -> None:
    log = io.StringIO()
    traces = Traces(make_logger("json", "debug", log))
    changes = [Change(1, None, 7, "job:updated", b"{}", trace) for trace in (SAMPLED, SAMPLED, None)]  # type: ignore[arg-type]
    traces.delivered(changes, 0.5, 1, 7, 2, ".1")
    [entry] = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (entry["trace_id"], entry["seconds"]) == (TRACE, 0.5)


# When they are exported


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "shop"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, False),
    ],
)
def test_the_environment_says_whether_traces_are_exported(environment: dict[str, str], wanted: bool) -> None:
    assert wants_spans(environment) is wanted


def test_a_protocol_that_is_not_spoken_is_told_and_hinders_nothing() -> None:
    log = io.StringIO()
    environment = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert spans_of(environment, make_logger("json", "info", log)) is None
    assert "http/protobuf" in log.getvalue()


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes], Event]]:
    """Something that takes spans over HTTP: its address, what it was sent, and whether anything has come."""
    bodies: list[bytes] = []
    came = Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()
            came.set()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", bodies, came
        finally:
            server.shutdown()
            thread.join()


async def test_serve_exports_to_the_collector_that_the_environment_names(tmp_path: Path) -> None:
    with collector() as (url, bodies, came):
        async with serving(tmp_path, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": url}) as server:
            answer = await server.publish(EVENT, headers={"traceparent": SAMPLED})
            assert answer.status == 201
            # The end of the process sends what waits.
            assert await server.stop() == 0
            assert "not exported" not in server.errors.read_text()
        assert came.is_set()
    sent = b"".join(bodies)
    for text in (b"POST /api/events", b"router wait", b"commit", b"djactors", bytes.fromhex(TRACE)):
        assert text in sent


async def test_a_collector_that_is_gone_holds_up_neither_a_post_nor_the_end(tmp_path: Path) -> None:
    # Nobody listens at this port: it belongs to the service that throws everything away.
    async with serving(tmp_path, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}) as server:
        assert (await server.publish(EVENT)).status == 201
        assert await server.stop() == 0

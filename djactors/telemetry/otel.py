"""Exports traces by OpenTelemetry (the extra `djactors[otel]`), if the environment asks for it with `OTEL_*`.

    POST /api/events      SERVER; from the request's body to the answer; its parent is the client's span
    ├─ router wait        from the question to the router, until it takes the event into a commit
    ├─ commit             until the event is durable
    └─ delivery           from the commit until a user's sockets were written to; one for each user, up to
                          `traces.DELIVERIES_TRACED`

Rules:
  * Nothing here waits. The SDK's processor keeps up to `OTEL_BSP_MAX_QUEUE_SIZE` spans, drops further ones, and sends
    them from a thread of its own.
  * Which traces are sampled is decided by `OTEL_TRACES_SAMPLER`, by default as the client says, and all of those that
    begin here. Only sampled ones cost anything behind the post.
  * A span holds the ids of tenants and users, and never a title, a message or a token.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from djactors import __version__
from djactors.telemetry.traces import DELIVERIES_TRACED, Trace

MAX_WAITING: Final = 8192
"""Traces whose wait for the router is measured at a time; so many commands may wait. The oldest gives way."""

MAX_DELIVERED: Final = 1024
"""Traces whose deliveries are counted at a time. The oldest gives way, and could then have `DELIVERIES_TRACED` more."""

CLOSE_SECONDS: Final = 2.0
"""How long the end of the process waits for the last spans to be sent: a collector that lives takes them in less."""

_NUMBER: Final = re.compile(r"/\d+")


class OtelSpans:
    """Makes the spans. Implements `traces.Spans`.

    Args:
        provider: what the spans are made with, and who processes them.
        now: Unix time in nanoseconds.
    """

    def __init__(self, provider: TracerProvider, now: Callable[[], int] = time.time_ns) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("djactors", __version__)
        self._clock = now
        self._asked: dict[str, int] = {}
        self._delivered: dict[str, int] = {}

    def now(self) -> int:
        """Unix time in nanoseconds."""
        return self._clock()

    def post(self, trace: Trace, path: str) -> Post:
        """A post is about to be recorded; see `traces.Spans`."""
        # What is published by the program itself has no path. A name for each id would be without bound.
        name = f"POST {_NUMBER.sub('/{id}', path)}" if path.startswith("/") else path
        span = self._tracer.start_span(
            name,
            Context() if trace.given is None else _under(trace.given, is_remote=True),
            SpanKind.SERVER,
            {"http.request.method": "POST", "url.path": path} if path.startswith("/") else None,
            start_time=trace.began,
        )
        return Post(self, span)

    def asked(self, trace: str) -> None:
        """The router is asked; see `traces.Spans`."""
        if len(self._asked) >= MAX_WAITING:
            del self._asked[next(iter(self._asked))]
        self._asked[trace] = self.now()

    def committing(self, traces: Sequence[str], commands: int) -> Commit:
        """A commit is asked for; see `traces.Spans`."""
        now = self.now()
        for trace in traces:
            # Of a batch post, what comes in a later commit has waited for the ones before.
            asked_at = self._asked.pop(trace, None)
            if asked_at is not None:
                self.span("router wait", trace, asked_at, now)
        return Commit(self, traces, commands, now)

    def delivered(self, trace: str, ago: float, tenant_id: int, user_id: int, sockets: int) -> None:
        """Sockets of a user were written to; see `traces.Spans`."""
        count = self._delivered.pop(trace, 0)
        if len(self._delivered) >= MAX_DELIVERED:
            del self._delivered[next(iter(self._delivered))]
        self._delivered[trace] = count + 1
        if count < DELIVERIES_TRACED:
            now = self.now()
            attributes = {"djactors.tenant_id": tenant_id, "djactors.user_id": user_id, "djactors.sockets": sockets}
            self.span("delivery", trace, now - int(ago * 1e9), now, attributes)

    def span(
        self,
        name: str,
        trace: str,
        start: int,
        end: int,
        attributes: Mapping[str, int] | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Something that has ended, below the post of this trace."""
        span = self._tracer.start_span(name, _under(trace), attributes=attributes, start_time=start)
        if error is not None:
            # Only its class: the text may hold somebody's data.
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        span.end(end)

    def end_post(self, trace: str, span: Span, status: int) -> None:
        """A post is answered with this status."""
        self._asked.pop(trace, None)
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(self.now())

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Send what waits, for at most so many seconds."""
        # The exporter tries a collector that is gone for longer than anybody waits for the end of a process.
        thread = threading.Thread(target=self._provider.shutdown, name="djactors-spans", daemon=True)
        thread.start()
        thread.join(seconds)


class Post:
    """The span of a post. Implements `traces.Span`."""

    __slots__ = ("_span", "_spans", "text")

    def __init__(self, spans: OtelSpans, span: Span) -> None:
        self._spans = spans
        self._span = span
        context = span.get_span_context()
        flags = "01" if context.trace_flags.sampled else "00"
        self.text = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags}"

    def end(self, status: int) -> None:
        """It is answered with this status of HTTP."""
        self._spans.end_post(self.text, self._span, status)


class Commit:
    """The spans of a commit, one in each trace that has an event in it. Implements `traces.Committing`."""

    __slots__ = ("_commands", "_spans", "_started", "_traces")

    def __init__(self, spans: OtelSpans, traces: Sequence[str], commands: int, started: int) -> None:
        self._spans = spans
        self._traces = traces
        self._commands = commands
        self._started = started

    def done(self, error: BaseException | None = None) -> None:
        """It is durable, or has failed."""
        end = self._spans.now()
        for trace in self._traces:
            self._spans.span("commit", trace, self._started, end, {"djactors.commit.commands": self._commands}, error)


def exporting_spans() -> OtelSpans:
    """Spans that are sent to the collector that `OTEL_EXPORTER_OTLP_*` names, from a thread."""
    resource = Resource.create({SERVICE_VERSION: __version__})
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        # The environment has no name for it.
        resource = resource.merge(Resource({SERVICE_NAME: "djactors"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OtelSpans(provider)


def _under(trace: str, *, is_remote: bool = False) -> Context:
    """The context in which a span gets the span of a `traceparent` as its parent."""
    flags = TraceFlags(int(trace[53:55], 16) & TraceFlags.SAMPLED)
    parent = SpanContext(int(trace[3:35], 16), int(trace[36:52], 16), is_remote, flags)
    return set_span_in_context(NonRecordingSpan(parent), Context())

"""The id by which a post is known from the request to the sockets: in the log, in the answer, and in exported traces.

    traceparent of the request ──► Trace ──► Publish ──► Change ──► Outgoing ──► the user's sockets
                                     │          │           └──────────┴── "event recorded", "event delivered"
                                     └── the answer's `traceresponse`, refusals, spans

Rules:
  * The id comes from the header `traceparent` (W3C Trace Context). Where that is missing or malformed, it is made up.
  * What travels through the program is the `traceparent` of djactors' own part, a text of 55 characters. Nothing else
    of what the client sent is kept.
  * Entries and spans are made only where somebody looks: at the log level debug, or with `spans`. Otherwise an event
    costs about a microsecond more than without an id.
  * It is not stored. Changes that are replayed, or that another node reads from the log, have none.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from structlog.typing import FilteringBoundLogger

REQUEST_HEADER: Final = "traceparent"
RESPONSE_HEADER: Final = "traceresponse"
"""The name of the draft of W3C for answers, which OpenTelemetry uses as well."""

_IDS: Final = r"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_GIVEN: Final = re.compile(rf"00{_IDS}|(?!00|ff)[0-9a-f]{{2}}{_IDS}(?:-[ -~]{{0,200}})?")
"""A `traceparent` that is well formed. One of a version to come may have more behind what version 00 has."""

_ODD: Final = "13579bdf"
"""The last digits of flags whose lowest bit says that the trace is sampled."""

DELIVERIES_TRACED: Final = 32
"""Spans of one event's deliveries that are made for one commit. A comment may reach thousands of people, and a span
takes some 20 µs of the event loop."""


class Span(Protocol):
    """Something that takes a time, as the exporter keeps it. `text` is its `traceparent`."""

    text: str

    def end(self, status: int) -> None:
        """It was answered with this status of HTTP."""


class Spans(Protocol):
    """What exports traces. Nothing here waits."""

    def post(self, trace: Trace, path: str) -> Span:
        """A post that began a moment ago is about to be recorded."""

    def now(self) -> int:
        """Unix time in nanoseconds."""

    def asked(self, trace: str) -> None:
        """The router is asked to record an event of this trace."""

    def committing(self, traces: Sequence[str], commands: int) -> Committing:
        """The router has taken events of these traces, and asks for a commit of so many commands."""

    def delivered(self, trace: str, ago: float, tenant_id: int, user_id: int, sockets: int) -> None:
        """Changes of this trace, which were committed so many seconds ago, were written to a user's sockets."""


class Committing(Protocol):
    """A commit that is under way."""

    def done(self, error: BaseException | None = None) -> None:
        """It is durable, or has failed."""


class Traced(Protocol):
    """Something that a trace may be of."""

    @property
    def trace(self) -> str | None:
        """The `traceparent`."""


class Trace:
    """The id of one post.

    Attributes:
        text: a `traceparent`.
        given: the client's, if that was well formed.
        began: Unix time in nanoseconds, if anything may be exported of the post.
        span: what is exported.
    """

    __slots__ = ("began", "given", "span", "text")

    def __init__(self, text: str, given: str | None, began: int) -> None:
        self.text = text
        self.given = given
        self.began = began
        self.span: Span | None = None

    def end(self, status: int) -> None:
        """The post is answered with this status of HTTP."""
        if self.span is not None:
            self.span.end(status)


class Traces:
    """Gives posts their ids, and tells of them on their way.

    Args:
        log: where entries go.
        spans: what exports traces; None to export none.

    Attributes:
        spans: as given.
        followed: whether somebody looks at where events go.
    """

    def __init__(self, log: FilteringBoundLogger, spans: Spans | None = None) -> None:
        self._log = log
        self._is_logged = log.is_enabled_for(logging.DEBUG)
        self.spans = spans
        self.followed = self._is_logged or spans is not None
        self.draw(random.Random())  # noqa: S311 - as below

    def draw(self, rng: random.Random) -> None:
        """Draw the beginnings of the ids that are made up here: one for the process, behind which posts are counted.

        To draw each of them would double what an id costs. Exported ones are drawn by the exporter. `rng` stays as it
        is: ids that nobody looks at are to change nothing that others draw.
        """
        state, rng = rng.getstate(), random.Random()  # noqa: S311 - it makes names, not secrets
        rng.setstate(state)
        self._made_up = f"00-{rng.getrandbits(64):016x}"
        # Far from zero, which no id may be, and from where it would need another digit.
        self._count = rng.getrandbits(63) | 1 << 60

    def begin(self, given: str | None) -> Trace:
        """The id of a post whose header `traceparent` is `given`."""
        if given is not None and _GIVEN.fullmatch(given) is None:
            given = None
        began = 0 if self.spans is None else self.spans.now()
        self._count += 1
        number = f"{self._count:016x}"
        if given is not None:
            return Trace(f"00-{given[3:35]}-{number}-{'01' if given[54] in _ODD else '00'}", given[:55], began)
        return Trace(f"{self._made_up}{number}-{number}-00", None, began)

    def follow(self, trace: Trace, path: str) -> str:
        """The `traceparent` for what a post has recorded. From here on the post is exported, if it is sampled.

        It is called for those only who may record something: whoever floods with other posts makes no spans.
        """
        if self.spans is not None and trace.span is None:
            trace.span = self.spans.post(trace, path)
            trace.text = trace.span.text
        return trace.text

    def asked(self, trace: str | None) -> None:
        """The router is asked to record an event of this trace."""
        if self.spans is not None and trace is not None and is_sampled(trace):
            self.spans.asked(trace)

    def committing(self, commands: Sequence[object]) -> Committing | None:
        """The router asks for a commit of these commands. None if nobody wants to know when it is done."""
        if self.spans is None:
            return None
        traces = {trace: None for command in commands if (trace := getattr(command, "trace", None)) is not None}
        sampled = list(filter(is_sampled, traces))
        return self.spans.committing(sampled, len(commands)) if sampled else None

    def delivered(
        self, changes: Iterable[Traced], ago: float, tenant_id: int, user_id: int, sockets: int, offset: str
    ) -> None:
        """Changes, which were committed so many seconds ago, were written to a user's sockets."""
        for trace in dict.fromkeys(_traces_of(changes)):
            if self._is_logged:
                self._log.debug(
                    "event delivered",
                    trace_id=trace_id(trace),
                    tenant_id=tenant_id,
                    user_id=user_id,
                    sockets=sockets,
                    offset=offset,
                    seconds=round(ago, 6),
                )
            if self.spans is not None and is_sampled(trace):
                self.spans.delivered(trace, ago, tenant_id, user_id, sockets)


def trace_id(trace: str | None) -> str | None:
    """The id of the whole, as the log shows it and other programs know it."""
    return None if trace is None else trace[3:35]


def is_sampled(trace: str) -> bool:
    """Whether the trace is to be exported: the lowest bit of the flags."""
    return trace[54] == "1"


def _traces_of(changes: Iterable[Traced]) -> Iterator[str]:
    return (change.trace for change in changes if change.trace is not None)

"""Logs and metrics: one catalogue of everything that an installation reports. It is passed in and never global.

Rules:
  * A log entry holds the ids of tenants, users and events, and never a token, a secret, a title or a message.
  * Outside a terminal, an entry is one line of JSON, whatever its fields hold.
  * Metric labels come from fixed sets. An id is never a label.
"""

from __future__ import annotations

import logging
import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from math import inf
from typing import TextIO

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString
from structlog.tracebacks import ExceptionDictTransformer

FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Histogram bounds in seconds. Half a millisecond is a good commit, and half a second is the seed's bound for a
delivery."""


class Latencies(Collector):
    """A histogram of seconds for the hottest path: it counts once for every user whom a commit reaches.

    It must be used from one thread only, so it takes no lock, and it costs a fifth of prometheus_client's own
    histogram.
    """

    def __init__(self, name: str, documentation: str, bounds: Sequence[float], registry: CollectorRegistry) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, seconds: float) -> None:
        """Add one value."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterator[Metric]:
        """Give the histogram in prometheus_client's form."""
        buckets = zip(map(floatToGoString, (*self._bounds, inf)), accumulate(self._counts), strict=True)
        yield HistogramMetricFamily(self._name, self._documentation, list(buckets), self._sum)


class Metrics:
    """The metrics of one server. They have a registry of their own, so that several servers fit into one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.connections = Gauge(
            "djactors_connections", "The number of open Engine.IO sessions.", ["transport"], registry=self.registry
        )
        self.tcp_connections = Gauge(
            "djactors_tcp_connections", "The number of open TCP connections.", registry=self.registry
        )
        self.session_ends = Counter(
            "djactors_session_ends",
            "Engine.IO sessions that have ended, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.users = Gauge("djactors_users", "The number of user actors in memory.", registry=self.registry)
        self.events = Counter(
            "djactors_domain_events",
            "Domain events, by type and by outcome.",
            ["type", "outcome"],
            registry=self.registry,
        )
        self.commands = Counter(
            "djactors_inbox_commands",
            "Commands to the inbox, by name and by outcome.",
            ["name", "outcome"],
            registry=self.registry,
        )
        self.notifications = Counter(
            "djactors_notifications", "Notifications that were put into inboxes.", registry=self.registry
        )
        self.loop_lag = Gauge(
            "djactors_loop_lag_seconds",
            "The longest turn of the event loop in the last minute, in seconds.",
            registry=self.registry,
        )
        self.unproven_bytes = Gauge(
            "djactors_unproven_bytes",
            "The bytes that are held for clients that have not proved who they are.",
            registry=self.registry,
        )
        self.delivery = Latencies(
            "djactors_delivery_seconds",
            "The time from the commit of a change to the write to its client, in seconds.",
            FAST,
            self.registry,
        )
        self.commit = Histogram(
            "djactors_commit_seconds", "The time that a commit takes, in seconds.", buckets=FAST, registry=self.registry
        )
        self.commit_items = Histogram(
            "djactors_commit_commands",
            "The number of commands in one commit.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
            registry=self.registry,
        )
        self.mailbox = Gauge(
            "djactors_mailbox_depth",
            "Messages that wait in mailboxes, by kind of actor.",
            ["actor"],
            registry=self.registry,
        )
        self.restarts = Counter(
            "djactors_actor_restarts", "Restarts, by kind of actor.", ["actor"], registry=self.registry
        )
        self.quarantines = Counter(
            "djactors_actor_quarantines",
            "Actors that were set aside because they kept failing, by kind.",
            ["actor"],
            registry=self.registry,
        )
        self.resumed = Counter(
            "djactors_resumed",
            "Clients that came back: resumed by pid, resumed by since, or reset.",
            ["outcome"],
            registry=self.registry,
        )
        self.replayed = Counter(
            "djactors_replayed_changes",
            "Changes that were sent from the log to clients that came back.",
            registry=self.registry,
        )
        self.refusals = Counter(
            "djactors_refusals",
            "Requests, events and connections that were refused, by reason.",
            ["reason"],
            registry=self.registry,
        )

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class Distribution(msgspec.Struct):
    """The content of a histogram.

    `counts` has one entry for each of the `bounds`: the number of values above the bound before it and up to this
    bound. One more entry counts all larger values.
    """

    bounds: list[float]
    counts: list[int]
    sum: float
    count: int


def distribution(histogram: Histogram | Latencies) -> Distribution:
    """Read a histogram that has no labels."""
    read = Distribution([], [], 0.0, 0)
    for sample in _samples(histogram):
        if sample.name.endswith("_bucket"):
            bound = float(sample.labels["le"])
            if bound != inf:
                read.bounds.append(bound)
            read.counts.append(int(sample.value) - read.count)
            read.count = int(sample.value)
        elif sample.name.endswith("_sum"):
            read.sum = sample.value
    return read


def total(metric: Counter | Gauge, **labels: str) -> int:
    """The sum of a counter or gauge over all samples that have these labels."""
    return int(
        sum(
            sample.value
            for sample in _samples(metric)
            if not sample.name.endswith("_created") and labels.items() <= sample.labels.items()
        )
    )


def _samples(metric: Collector) -> Iterator[Sample]:
    for family in metric.collect():
        yield from family.samples


def make_logger(log_format: str, level: str, stream: TextIO | None = None) -> structlog.typing.FilteringBoundLogger:
    """A logger that writes to `stream` (standard error by default): JSON lines, or readable text on a terminal."""
    stream = sys.stderr if stream is None else stream
    readable = log_format == "console" or (log_format == "auto" and stream is not None and stream.isatty())
    # Local variables stay out of both forms of a traceback, because tokens and keys are among them.
    rendering: list[structlog.typing.Processor] = (
        [_printable, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if readable
        else [
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ]
    )
    logger = structlog.wrap_logger(
        _Lines(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        context_class=dict,
    )
    # Bound once, because the lazy logger would put itself together anew for every entry, even for those that it drops.
    bound: structlog.typing.FilteringBoundLogger = logger.bind()
    return bound


def _printable(_: object, __: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Escape texts from outside, so that they cannot control the terminal."""
    return {
        key: repr(value) if isinstance(value, str) and not value.isprintable() else value
        for key, value in entry.items()
    }


class _Lines:
    """Writes each entry in one piece.

    An entry that cannot be written, because the reader is gone or the disk is full, is dropped: the server must outlive
    its log. If there is no stream, because standard error is closed, nothing is written.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        """Write one entry."""
        if self._stream is not None:
            # ValueError: the stream was closed.
            with suppress(OSError, ValueError):
                self._stream.write(f"{message}\n")
                self._stream.flush()

    debug = info = warning = error = critical = msg


class Telemetry:
    """The logger and the metrics, passed to every part that has something to report."""

    def __init__(
        self, logger: structlog.typing.FilteringBoundLogger | None = None, metrics: Metrics | None = None
    ) -> None:
        self.log = make_logger("json", "error") if logger is None else logger
        self.metrics = Metrics() if metrics is None else metrics

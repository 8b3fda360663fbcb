"""The metrics of a server: one catalogue of everything that it counts.

Labels come from fixed sets. An id is never a label.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from math import inf, nan
from typing import ClassVar

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Histogram bounds in seconds. Half a millisecond is a good commit, and half a second is the seed's bound for a
delivery."""


class QuickHistogram(Collector):
    """A histogram for what is counted with every commit, or for every user whom a commit reaches.

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

    def observe(self, value: float) -> None:
        """Add one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterator[Metric]:
        """Give the histogram in prometheus_client's form."""
        buckets = zip(map(floatToGoString, (*self._bounds, inf)), accumulate(self._counts), strict=True)
        yield HistogramMetricFamily(self._name, self._documentation, list(buckets), self._sum)


class _QuickNumbers(Collector):
    """A number for each combination of labels.

    It must be used from one thread only, so it takes no lock, and to count is one call instead of the four that
    prometheus_client's own metrics make.
    """

    _family: ClassVar[type[CounterMetricFamily | GaugeMetricFamily]]

    def __init__(self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name = name
        self._documentation = documentation
        # As prometheus_client's own metrics call it.
        self._labelnames = tuple(labels)
        self._numbers: defaultdict[tuple[str, ...], int] = defaultdict(int)
        self._begin()
        registry.register(self)

    def add(self, count: int, *labels: str) -> None:
        """Count so many more with these labels."""
        self._numbers[labels] += count

    def collect(self) -> Iterator[Metric]:
        """Give the numbers in prometheus_client's form."""
        family = self._family(self._name, self._documentation, labels=self._labelnames)
        for labels, number in self._numbers.items():
            family.add_metric(labels, number)
        yield family

    def _begin(self) -> None:
        if not self._labelnames:
            # What has no labels is shown from the start.
            self._numbers[()] = 0


class QuickCounter(_QuickNumbers):
    """A counter for what is counted with every commit."""

    _family = CounterMetricFamily


class QuickGauge(_QuickNumbers):
    """A gauge for what goes up and down with every connection. `add` takes a negative count for fewer."""

    _family = GaugeMetricFamily

    def clear(self) -> None:
        """There are none any more."""
        self._numbers.clear()
        self._begin()


class CountedElsewhere(Collector):
    """A counter whose number somebody else keeps, and which is read when the metrics are: `read` returns the number."""

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        self._name = name
        self._documentation = documentation
        self.read: Callable[[], int] = int
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Give the counter in prometheus_client's form."""
        yield CounterMetricFamily(self._name, self._documentation, value=self.read())


class Metrics:
    """The metrics of one server. They have a registry of their own, so that several servers fit into one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.connections = QuickGauge(
            "djactors_connections", "The number of open Engine.IO sessions.", ["transport"], self.registry
        )
        self.tcp_connections = QuickGauge(
            "djactors_tcp_connections", "The number of open TCP connections.", [], self.registry
        )
        self.session_ends = Counter(
            "djactors_session_ends",
            "Engine.IO sessions that have ended, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.users = QuickGauge("djactors_users", "The number of user actors in memory.", [], self.registry)
        self.events = QuickCounter(
            "djactors_domain_events", "Domain events, by type and by outcome.", ["type", "outcome"], self.registry
        )
        self.commands = QuickCounter(
            "djactors_inbox_commands",
            "Commands to the inbox, by name and by outcome.",
            ["name", "outcome"],
            self.registry,
        )
        self.notifications = QuickCounter(
            "djactors_notifications", "Notifications that were put into inboxes.", [], self.registry
        )
        self.ready = Gauge(
            "djactors_ready",
            "1 if the last answer of /readyz was that the server takes requests, otherwise 0.",
            registry=self.registry,
        )
        self.ready.set(1)
        self.long_turns = Counter(
            "djactors_long_turns", "Turns of the event loop that took 100 ms or more.", registry=self.registry
        )
        self.loop_lag = Gauge(
            "djactors_loop_lag_seconds",
            "The longest turn of the event loop in the last minute, in seconds.",
            registry=self.registry,
        )
        self.tasks = Gauge("djactors_tasks", "The number of tasks in the event loop.", registry=self.registry)
        self.unproven_bytes = Gauge(
            "djactors_unproven_bytes",
            "The bytes that are held for clients that have not proved who they are.",
            registry=self.registry,
        )
        self.delivery = QuickHistogram(
            "djactors_delivery_seconds",
            "The time from the commit of a change to the write to its client, in seconds.",
            FAST,
            self.registry,
        )
        self.commit = QuickHistogram(
            "djactors_commit_seconds", "The time that a commit takes, in seconds.", FAST, self.registry
        )
        self.commit_items = QuickHistogram(
            "djactors_commit_commands",
            "The number of commands in one commit.",
            (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
            self.registry,
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
        self.followed = Counter(
            "djactors_followed_changes",
            "Changes that were read from the log for connected users, because another node wrote them or came before.",
            registry=self.registry,
        )
        self.listening = Gauge(
            "djactors_listening",
            "1 while other nodes' commits are heard of at once, 0 while the database is polled for them or not shared.",
            registry=self.registry,
        )
        self.database_bytes = self._unknown_at_first(
            "djactors_database_bytes",
            "The bytes that the database takes on its disk, with its log. NaN in the first minute.",
        )
        self.disk_free = self._unknown_at_first(
            "djactors_disk_free_bytes", "The bytes that are left for the database. NaN where nobody knows."
        )
        self.database_growth = self._unknown_at_first(
            "djactors_database_growth_bytes",
            "The bytes by which the database grew each day of the last week. NaN in the first day.",
        )
        self.disk_days_left = self._unknown_at_first(
            "djactors_disk_days_left",
            "The days until nothing is left for the database if it goes on growing like this. NaN where nobody knows.",
        )
        self.backup_timestamp = self._unknown_at_first(
            "djactors_backup_timestamp_seconds",
            "The moment of which the newest checked backup is, as Unix time. NaN where none is known.",
        )
        self.refusals = Counter(
            "djactors_refusals",
            "Requests, events and connections that were refused, by reason.",
            ["reason"],
            registry=self.registry,
        )

        self.log_lines_dropped = CountedElsewhere(
            "djactors_log_lines_dropped",
            "Log lines that were dropped because nobody read the log, or because it could not be written.",
            self.registry,
        )

    def _unknown_at_first(self, name: str, documentation: str) -> Gauge:
        gauge = Gauge(name, documentation, registry=self.registry)
        gauge.set(nan)
        return gauge

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


def distribution(histogram: QuickHistogram) -> Distribution:
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


def total(metric: Collector, **labels: str) -> int:
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

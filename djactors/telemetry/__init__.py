"""What an installation reports: logs and metrics. A `Telemetry` is passed to every part that has something to report,
and is never global.

    log.py         entries, and what they look like
    log_thread.py  writes them without anybody waiting
    interpreter.py what others in the process would print
    refusals.py    refusals and failures: the first of a kind in full, the rest as a sum
    metrics.py     everything that is counted
    traces.py      the id of a post, from the request to the sockets
    exporting.py   whether traces are exported
    otel.py        exports them by OpenTelemetry
"""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from djactors.telemetry.log import make_logger
from djactors.telemetry.log_thread import LogThread
from djactors.telemetry.metrics import FAST, Distribution, Metrics, QuickCounter, QuickHistogram, distribution, total
from djactors.telemetry.refusals import Refusals
from djactors.telemetry.traces import Spans, Trace, Traces, trace_id

__all__ = [
    "FAST",
    "Distribution",
    "LogThread",
    "Metrics",
    "QuickCounter",
    "QuickHistogram",
    "Refusals",
    "Spans",
    "Telemetry",
    "Trace",
    "Traces",
    "distribution",
    "make_logger",
    "total",
    "trace_id",
]


class Telemetry:
    """The log and the metrics of one server.

    Args:
        log: where entries go. By default errors go to standard error as JSON, from a thread, so that nothing waits for
            whoever reads them. A `LogThread` is used in the same way. Any other structlog logger is called directly, on
            the event loop: if it blocks, everybody waits.
        metrics: what is counted; by default a new catalogue.
        spans: what exports traces, such as `otel.OtelSpans`; by default nothing does.

    Attributes:
        log: the structlog logger.
        metrics: the metrics.
        refusals: counts and logs what is refused.
        traces: follows posts on their way.
    """

    def __init__(
        self,
        log: FilteringBoundLogger | LogThread | None = None,
        metrics: Metrics | None = None,
        spans: Spans | None = None,
    ) -> None:
        if log is None:
            log = LogThread("json", "error")
        self.metrics = metrics = Metrics() if metrics is None else metrics
        if isinstance(log, LogThread):
            thread = log
            metrics.log_lines_dropped.read = lambda: thread.dropped
            log = thread.logger
        self.log = log
        self.refusals = Refusals(log, metrics)
        self.traces = Traces(log, spans)

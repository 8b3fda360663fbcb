"""Whether traces are exported: if the environment asks for it, by the variables that every program with OpenTelemetry
takes, and the extra `djactors[otel]` is installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

from structlog.typing import FilteringBoundLogger

from djactors.telemetry.traces import Spans

PROTOCOL: Final = "http/protobuf"
"""The one protocol of OTLP that is spoken, which is the default of the standard: gRPC would bring a library in C++ with
threads of its own."""


class ExportingSpans(Spans, Protocol):
    """What sends them to somebody else."""

    def close(self) -> None:
        """Send what waits, for a bounded time."""


def wants_spans(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for exported traces, by the variables that every program with OpenTelemetry takes.

    It does if it names a collector, or the exporter `otlp`.
    """
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").replace(" ", "").lower()
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporters == "none":
        return False
    return bool(
        "otlp" in exporters.split(",")
        or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    )


@contextmanager
def exported(environ: Mapping[str, str], log: FilteringBoundLogger) -> Iterator[Spans | None]:
    """What exports traces, if the environment asks for it; see `spans_of`. At the end, what waits is sent."""
    spans = spans_of(environ, log)
    try:
        yield spans
    finally:
        if spans is not None:
            spans.close()


def spans_of(environ: Mapping[str, str], log: FilteringBoundLogger) -> ExportingSpans | None:
    """What exports traces, if the environment asks for it. If it cannot be had, the log says why, and how to mend it.

    No start is refused for that: the variables are often set for a whole machine.
    """
    if not wants_spans(environ):
        return None
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", PROTOCOL):
        log.warning("traces are not exported", reason=f"only OTEL_EXPORTER_OTLP_PROTOCOL={PROTOCOL} is spoken")
        return None
    try:
        from djactors.telemetry.otel import exporting_spans
    except ImportError:
        log.warning("traces are not exported", reason="OpenTelemetry is missing: pip install 'djactors[otel]'")
        return None
    try:
        return exporting_spans()
    except ValueError as error:
        log.warning("traces are not exported", reason=f"a variable OTEL_* is wrong: {error}")
        return None

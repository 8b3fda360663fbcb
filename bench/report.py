"""What every benchmark leaves behind: tables on the terminal, JSON and an SVG in bench/out."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from bench.load.commands import Phase
from bench.machine import Machine, describe, one_line

OUT = Path(__file__).parent / "out"
F = TypeVar("F", bound=Callable[..., Any])


def out_option(command: F) -> F:
    """``--out``: where results and the databases under test go.

    Beside the results rather than in /tmp, which may be memory: commits shall cost what a disk's do.
    """
    kind = click.Path(path_type=Path, file_okay=False)
    return click.option("--out", type=kind, default=OUT, help="For JSON, plot and databases.")(command)


@contextmanager
def workplace(out: Path, name: str) -> Iterator[Path]:
    """A directory in `out` that goes with the block."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=out) as directory:
        yield Path(directory)


class Report:
    """Collects what a run found. `faults` make it fail, after everything has been shown and written."""

    def __init__(self, name: str, directory: Path, settings: Mapping[str, object]) -> None:
        self.name = name
        self.machine: Machine = describe(directory)
        self.foot = one_line(self.machine)
        self.figures: dict[str, Any] = {}
        self.faults: dict[str, int] = {}
        self._settings = {key: value for key, value in settings.items() if key != "out"}
        self._stamp = datetime.now(UTC)

    def table(self, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Show a table: the first column is text, the others are figures."""
        click.echo(table(head, rows))
        click.echo()

    def check(self, what: str, faults: Mapping[str, int]) -> None:
        """Note what went wrong in a part of the run."""
        for fault, times in faults.items():
            if times:
                self.faults[f"{what}: {fault}"] = self.faults.get(f"{what}: {fault}", 0) + times

    def phase(self, what: str, phase: Phase) -> dict[str, Any]:
        """Note a phase's faults; its figures for the JSON."""
        self.check(what, phase.faults)
        return {
            "event": phase.event,
            "posted": phase.posted,
            "posts": phase.posts,
            "sockets": phase.sockets,
            "messages": phase.messages,
            "seconds": phase.use.seconds,
            "cpu_seconds": phase.use.cpu,
            "cpu_us_per_event": cpu_us(phase),
            "load_cpu_seconds": phase.use.load,
            "faults": phase.faults,
        }

    def finish(self, out: Path, svg: str) -> None:
        """Write everything, and fail if anything was lost.

        Raises:
            click.ClickException: there were faults.
        """
        name = f"{self.name}-{self._stamp:%Y%m%dT%H%M%SZ}"
        document = {
            "benchmark": self.name,
            "at": f"{self._stamp:%Y-%m-%dT%H:%M:%SZ}",
            "machine": self.machine,
            "settings": self._settings,
            "figures": self.figures,
            "faults": self.faults,
        }
        text = msgspec.json.format(msgspec.json.encode(document, enc_hook=str), indent=2)
        (out / f"{name}.json").write_bytes(text)
        (out / f"{name}.svg").write_text(svg, encoding="utf-8")
        click.echo(f"{self.foot}\n{out / name}.json\n{out / name}.svg")
        if self.faults:
            lines = "\n".join(f"  {times} times: {fault}" for fault, times in self.faults.items())
            raise click.ClickException(f"the figures are worth nothing, since not all went right:\n{lines}")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns under their heads, as Markdown, so that it can be pasted into a README."""
    lines = [list(head), *([_text(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, rule)
    return "\n".join(f"| {' | '.join(map(_pad, line, widths, range(len(line))))} |" for line in lines)


def _pad(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column == 0 else text.rjust(width)


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}"
    return "-" if cell is None else str(cell)


def cpu_us(phase: Phase) -> float:
    """Microseconds of the target's CPU for each event, its database's included."""
    return phase.use.total * 1e6 / max(phase.posted, 1)


def latest(out: Path, name: str, settings: Mapping[str, object]) -> dict[str, Any] | None:
    """The newest sound result in `out` of a benchmark that was run with these settings, None if there is none."""
    for path in sorted(out.glob(f"{name}-[0-9]*.json"), reverse=True):
        document: dict[str, Any] = msgspec.json.decode(path.read_bytes())
        if not document["faults"] and settings.items() <= document["settings"].items():
            return document
    return None

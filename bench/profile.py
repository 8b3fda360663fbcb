"""Where the server's CPU goes under load, by layer: a statistical sampler (py-spy) looks some hundred times a second.

A sample belongs to the layer of the innermost Python function that was running, unless native code of note ran on its
behalf: SQLite, the kernel (sending, receiving), an fsync (waiting rather than work), or Python's garbage collection.
Threads that wait for something to do, or for the interpreter, are not counted.

Samples overrate the kernel: a thread that sends wakes the one that receives, often loses its core to it, and looks busy
meanwhile. So the samples of the kernel's layers are weighed with what the kernel says it used for the process, and the
others with what the process used itself.

py-spy must be allowed to trace the server: as root, or where ``kernel.yama.ptrace_scope`` is 0.
"""

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import click

from bench.driver import Driver, load_on
from bench.load.commands import Command, Connect, Connected, Done, Flood, Know, Pace, Phase, Result
from bench.plot import bar_plot
from bench.report import Report, out_option, workplace
from bench.server import djactors_server
from bench.usage import Cpu, cpu

LAYERS = (
    "operations", "commands", "monitoring", "edge", "actors", "inbox", "engine", "store", "net", "client", "outbox",
    "django", "embedded", "domain",
    "protocol", "kernel", "config", "telemetry",
)  # fmt: skip
PACKAGES = (
    "trio", "httptools", "msgspec", "jwt", "prometheus_client", "structlog", "outcome",
)  # fmt: skip
SQLITE = re.compile(r"sqlite", re.IGNORECASE)
SYSTEM_CALLS = re.compile(
    r"^(__)?(libc_)?(send|sendto|sendmsg|recv|recvfrom|read|write|pwrite64|pread64|writev|epoll_wait|epoll_ctl|accept4?|"
    r"close|stat64|fstat64)(64)?\b"
)
FSYNC = re.compile(r"^(fsync|fdatasync)\b")
WAITS = re.compile(r"^(PyThread_acquire_lock|take_gil|pthread_cond_(timed)?wait|sem_(timed|clock)?wait)")
"""A thread in one of these waits for a lock; the sampler cannot always tell that from work."""
COLLECTION = re.compile(r"^gc_collect")
FRAME = re.compile(r"^(?P<function>.*) \((?P<file>.*?)(?::\d+)?\)$")
KERNEL = ("system calls", "fsync")
"""Layers in which the kernel works, not the process."""
SHOWN = 25
PHASES = ("single", "paced", "batch", "fanout", "connect")
PACE = 300.0
"""Events a second of the paced phase, posted one by one: that of `bench builds`."""


def layer_of(stack: str) -> tuple[str, str] | None:
    """The layer of a collapsed stack (outermost first, by semicolons), and the function that stands for it.

    None where the thread only waits for a lock.
    """
    native = ""
    for frame in reversed(stack.split(";")):
        match = FRAME.match(frame)
        if match is None:
            continue
        function, file = match["function"], match["file"]
        if file.endswith(".py"):
            return (native or _python_layer(file)), f"{function} ({_short(file)})"
        if WAITS.match(function):
            return None
        native = native or _native_layer(function, file)
    return (native or "interpreter"), "no Python"


def _native_layer(function: str, file: str) -> str:
    for layer, pattern in (("fsync", FSYNC), ("system calls", SYSTEM_CALLS), ("garbage collection", COLLECTION)):
        if pattern.match(function):
            return layer
    return "sqlite" if SQLITE.search(file) else ""


def _python_layer(file: str) -> str:
    parts = Path(file).parts
    if "djactors" in parts:
        room = parts[len(parts) - 1 - parts[::-1].index("djactors") + 1]
        return room if room in LAYERS else "app"
    if "site-packages" in parts:
        package = parts[parts.index("site-packages") + 1].removesuffix(".py")
        return package if package in PACKAGES else "other packages"
    return "stdlib"


def _short(file: str) -> str:
    return "/".join(Path(file).parts[-3:])


@click.command()
@click.option("--phase", type=click.Choice(PHASES), default="single", help="What the server does meanwhile.")
@click.option("--users", type=click.IntRange(1), default=100, help="Connected users.")
@click.option("--producers", type=click.IntRange(1), default=64, help="Of the phase of single posts.")
@click.option("--seconds", type=click.FloatRange(0.5), default=8.0)
@click.option("--rate", type=click.IntRange(1, 1000), default=250, help="Samples a second.")
@click.option("--native/--no-native", default=True, help="Tell SQLite and the kernel apart; slows the server a little.")
@out_option
def profile(phase: str, users: int, producers: int, seconds: float, rate: int, native: bool, out: Path) -> None:
    """The server's CPU by layer, and the functions that take most of it."""
    settings = dict(click.get_current_context().params)
    sampler = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if sampler is None:
        raise click.ClickException("needs py-spy: pip install 'djactors[bench]'")
    with workplace(out, "profile") as directory:
        report = Report("profile", directory, settings)
        with djactors_server(directory) as target, load_on(target) as load:
            command, kind = _work(load, phase, users, producers, seconds)
            samples = directory / "samples.txt"
            options = ["--native"] if native else []
            server = target.processes["server"]
            before = cpu(server)
            watching = subprocess.Popen(
                [sampler, "record", "--pid", str(server), "--rate", str(rate),
                 "--duration", str(max(1, round(seconds))), "--format", "raw", "--output", samples,
                 "--full-filenames", "--threads", *options],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            try:
                result = load.ask(command, kind)
                _, complaint = watching.communicate(timeout=seconds + 30)
            finally:
                watching.kill()
                watching.wait()
            after = cpu(server)
            if not samples.exists():
                raise click.ClickException(f"py-spy could not look: {complaint.strip()}")
            text = samples.read_text()
    if isinstance(result, Phase):
        report.figures["phase"] = report.phase(phase, result)
    layers, functions = count(text)
    total = sum(layers.values()) or 1
    used = Cpu(after.user - before.user, after.system - before.system)
    shares = {layer: 100 * weight for layer, weight in weigh(layers, used).items()}
    report.table(
        ["layer", "% of CPU", "% of samples"],
        [[layer, share, 100 * layers[layer] / total] for layer, share in shares.items()],
    )
    report.table(
        ["function", "layer", "% of samples"],
        [[function, layer, 100 * times / total] for (layer, function), times in functions.most_common(SHOWN)],
    )
    report.figures |= {"samples": total, "layers": shares, "user_seconds": used.user, "system_seconds": used.system}
    report.figures["functions"] = [
        {"function": function, "layer": layer, "percent": 100 * times / total}
        for (layer, function), times in functions.most_common(SHOWN * 4)
    ]
    bars = {layer: {"%": share} for layer, share in shares.items()}
    report.finish(out, bar_plot(f"Server CPU by layer: {phase}", report.foot, bars, "%"))


def count(samples: str) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Samples by layer, and by layer and function, from py-spy's raw format: a stack and a number a line."""
    layers: Counter[str] = Counter()
    functions: Counter[tuple[str, str]] = Counter()
    for line in samples.splitlines():
        stack, _, times = line.rpartition(" ")
        found = layer_of(stack)
        if found is None:
            continue
        layer, function = found
        layers[layer] += int(times)
        functions[layer, function] += int(times)
    return layers, functions


def weigh(layers: Counter[str], used: Cpu) -> dict[str, float]:
    """Each layer's part of the CPU, the largest first: see the module for how samples become that."""
    inside = sum(times for layer, times in layers.items() if layer in KERNEL)
    outside = layers.total() - inside
    of_kernel, of_process = used.system / (used.total or 1.0), used.user / (used.total or 1.0)
    weights = {
        layer: times / inside * of_kernel if layer in KERNEL else times / outside * of_process
        for layer, times in layers.items()
    }
    return dict(sorted(weights.items(), key=lambda item: -item[1]))


def _work(load: Driver, phase: str, users: int, producers: int, seconds: float) -> tuple[Command, type[Result]]:
    """Prepare, and give the command under which the server is watched."""
    if phase == "connect":
        load.ask(Know(10_000), Done)
        return Connect(1, 10_000, 64), Connected
    jobs = 100_000 if phase == "fanout" else 0
    load.ask(Know(users, jobs), Done)
    load.ask(Connect(1, users, 64), Connected)
    load.ask(Flood(event="notification.requested", producers=producers, batch=1, seconds=1.0), Phase)
    if phase == "fanout":
        return Flood(event="job.assigned", producers=1, batch=1, seconds=seconds), Phase
    if phase == "paced":
        paced = Pace(event="notification.requested", rate=PACE, seconds=seconds, warmup_seconds=0.5, producers=1)
        return paced, Phase
    size, posting = (1, producers) if phase == "single" else (100, 1)
    return Flood(event="notification.requested", producers=posting, batch=size, seconds=seconds), Phase

"""A sample of the profiler is put where its time was spent."""

from collections import Counter
from pathlib import Path

import pytest

import djactors
from bench.profile import LAYERS, count, layer_of, weigh
from bench.usage import Cpu

TRIO = "unrolled_run (/v/site-packages/trio/_core/_run.py:2931)"
RECORD = "Recorder.record (/x/djactors/inbox/recorder.py:90)"
PYTHON = "/root/lib/libpython3.11.so.1.0"


@pytest.mark.parametrize(
    ("stack", "layer"),
    [
        (f"thread (1): MainThread;{TRIO}", "trio"),
        (f"{TRIO};Session.write (/x/djactors/djactors/engine/session.py:3)", "engine"),
        (f"{TRIO};load (/x/djactors/config.py:3)", "app"),
        (f"{TRIO};{RECORD}", "inbox"),
        (f"{RECORD};_pysqlite_query_execute ({PYTHON});sqlite3_step (/usr/lib/libsqlite3.so.0.8.6)", "sqlite"),
        (f"{RECORD};dumps (/root/lib/python3.11/json/__init__.py:1)", "stdlib"),
        (f"{RECORD};x (/v/site-packages/click/core.py:1)", "other packages"),
        (f"{TRIO};sock_send ({PYTHON});send (/usr/lib/libc.so.6)", "system calls"),
        (f"{RECORD};sqlite3_step (/usr/lib/libsqlite3.so.0.8.6);fdatasync (/usr/lib/libc.so.6)", "fsync"),
        (f"{RECORD};gc_collect_main ({PYTHON})", "garbage collection"),
        (f"{RECORD};unicode_encode ({PYTHON})", "inbox"),
    ],
)
def test_a_sample_belongs_to_the_innermost_layer_of_note(stack: str, layer: str) -> None:
    found = layer_of(stack)
    assert found is not None
    assert found[0] == layer


def test_every_room_of_the_server_is_a_layer() -> None:
    assert djactors.__file__ is not None
    rooms = {path.parent.name for path in Path(djactors.__file__).parent.glob("*/__init__.py")}
    assert rooms == set(LAYERS)


def test_a_thread_that_waits_for_a_lock_is_not_counted() -> None:
    waiting = f"{RECORD};PyThread_acquire_lock_timed ({PYTHON});0x7f76096a3f16 (/usr/lib/libc.so.6) 7"
    layers, functions = count(f"{waiting}\n{RECORD} 3\n")
    assert layers == {"inbox": 3}
    assert functions == {("inbox", "Recorder.record (djactors/inbox/recorder.py)"): 3}


def test_samples_in_the_kernel_weigh_what_the_kernel_used() -> None:
    samples = Counter({"system calls": 30, "fsync": 10, "edge": 15, "sqlite": 45})
    weights = weigh(samples, Cpu(user=6.0, system=2.0))
    assert list(weights) == ["sqlite", "system calls", "edge", "fsync"]
    assert weights == pytest.approx({"sqlite": 0.5625, "system calls": 0.1875, "edge": 0.1875, "fsync": 0.0625})


def test_no_samples_weigh_nothing() -> None:
    assert weigh(Counter(), Cpu(0.0, 0.0)) == {}
    assert weigh(Counter({"edge": 1}), Cpu(0.1, 0.0)) == {"edge": 1.0}

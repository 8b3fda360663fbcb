"""A sample of the profiler is put where its time was spent."""

import pytest

from bench.profile import count, layer_of

TRIO = "unrolled_run (/v/site-packages/trio/_core/_run.py:2931)"
RECORD = "Recorder.record (/x/djactors/store/recorder.py:90)"
PYTHON = "/root/lib/libpython3.11.so.1.0"


@pytest.mark.parametrize(
    ("stack", "layer"),
    [
        (f"thread (1): MainThread;{TRIO}", "trio"),
        (f"{TRIO};Session.write (/x/djactors/djactors/edge/session.py:3)", "edge"),
        (f"{TRIO};load (/x/djactors/config.py:3)", "app"),
        (f"{TRIO};{RECORD}", "store"),
        (f"{RECORD};_pysqlite_query_execute ({PYTHON});sqlite3_step (/usr/lib/libsqlite3.so.0.8.6)", "sqlite"),
        (f"{RECORD};dumps (/root/lib/python3.11/json/__init__.py:1)", "stdlib"),
        (f"{RECORD};x (/v/site-packages/click/core.py:1)", "other packages"),
        (f"{TRIO};sock_send ({PYTHON});send (/usr/lib/libc.so.6)", "system calls"),
        (f"{RECORD};sqlite3_step (/usr/lib/libsqlite3.so.0.8.6);fdatasync (/usr/lib/libc.so.6)", "fsync"),
        (f"{RECORD};gc_collect_main ({PYTHON})", "garbage collection"),
        (f"{RECORD};unicode_encode ({PYTHON})", "store"),
    ],
)
def test_a_sample_belongs_to_the_innermost_layer_of_note(stack: str, layer: str) -> None:
    found = layer_of(stack)
    assert found is not None
    assert found[0] == layer


def test_a_thread_that_waits_for_a_lock_is_not_counted() -> None:
    waiting = f"{RECORD};PyThread_acquire_lock_timed ({PYTHON});0x7f76096a3f16 (/usr/lib/libc.so.6) 7"
    layers, functions = count(f"{waiting}\n{RECORD} 3\n")
    assert layers == {"store": 3}
    assert functions == {("store", "Recorder.record (djactors/store/recorder.py)"): 3}

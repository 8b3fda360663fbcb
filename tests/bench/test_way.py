"""The way of an event is followed from the socket that it comes in by to the socket that it goes out by."""

import subprocess
import sys


def test_the_way_of_an_event_leads_from_socket_to_socket() -> None:
    command = [sys.executable, "-m", "bench", "way", "--each"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    created, read = done.stdout.strip().split("\n\n")
    for name, way in (("job.created", created), ("notification:read", read)):
        head, *calls = way.splitlines()
        assert head.startswith(f"{name}: {len(calls)} calls, ")
        came = next(place for place, call in enumerate(calls) if "receive_some" in call)
        committed = next(place for place, call in enumerate(calls) if "UnitOfWork.flush" in call)
        left = next(place for place, call in enumerate(calls) if "WebSocket.write_frames" in call)
        assert came < committed < left

"""The way of an event is followed from the socket that it comes in by to the socket that it goes out by."""

import re
import subprocess
import sys
from pathlib import Path

TABLE = (Path(__file__).parents[2] / "bench" / "README.md").read_text()

MOST = {"job.created": (53, 77), "notification:read": (44, 67)}
"""Files, and crossings from folder to folder, that an event may pass. Each is something that a reader who follows the
event has to open. A later commit may raise a figure only for a reason that it states.

`steady_clock.py` is one of them: each commit asks it for its time, so that no jump of the wall clock gets into it.
It is asked once more, for two crossings, when the sender's token is judged: a jump must sign nobody out. The
shares of senders brought two files and four crossings: the buckets of people and backends stand in a file of their own,
and a good token tells the connection that it need not give way any more. The id by which a post is known in the log
and in traces brought one file and three crossings.

Each route is declared once, for its handler and for the description of the API: that took the handlers of events and
the reading of queries out of the file of the router, two files. Own notification types brought one, which looks up what
their wording names. Bells brought one: they spare a turn of the loop with each commit.

The announcer brought one, which tells many people in slices while the router goes on, and the turnstile one, by which a
crowd comes in over several turns of the loop. Up to six crossings are new: events are counted by a class of this
project, which makes one call instead of prometheus_client's four, and the rows of each table go to the engine as soon
as they are there, so that PostgreSQL inserts them while the next are made. One or two crossings more are the
turnstile's, which begins anew with the next turn of the loop: so whoever finds room gives up no turn of their own.

A command asks before its answer whether its user was told newer counts meanwhile: one crossing.

How bytes become text that a URL takes stands in one file for tokens, offsets, pids and pages, and no longer in each of
them: one file, and two crossings where a token is judged. A command tells the turnstile that a crowd of newcomers has
to make way for it: one file."""


def test_the_way_of_an_event_leads_from_socket_to_socket_and_grows_no_longer() -> None:
    command = [sys.executable, "-m", "bench", "way", "--each"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    ways = done.stdout.strip().split("\n\n")
    for (name, (files, crossings)), way in zip(MOST.items(), ways, strict=True):
        head, *calls = way.splitlines()
        found = re.fullmatch(rf"{name}: (\d+) calls, \d+ functions, (\d+) files, (\d+) crossings", head)
        assert found is not None, head
        assert int(found[1]) == len(calls)
        assert int(found[2]) <= files, way
        assert int(found[3]) <= crossings, way
        for file in {call.split()[0].rpartition("/")[2] for call in calls}:
            assert name != "job.created" or f"{file}` |" in TABLE, f"bench/README.md says what {file} carries"
        came = next(place for place, call in enumerate(calls) if "receive_some" in call)
        committed = next(place for place, call in enumerate(calls) if "UnitOfWork.flush" in call)
        left = next(place for place, call in enumerate(calls) if "WebSocket.write_frames" in call)
        assert came < committed < left

"""What the examples do where djactors has no room: for a moment, or for so long that nobody should wait for it.

Each of them sends the same event again, so that nobody is notified twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.examples.door import Busy, Door, Post, busy_door
from tests.examples.example import PATIENCE, Example, wait_for

ExampleAt = Callable[[str, str], Example]

A_MOMENT = (Busy(429, 0), Busy(503, None))
AN_HOUR = Busy(503, 3600)


def are_of_one_event(posts: list[Post]) -> bool:
    return len({(post.key, json.dumps(post.body)) for post in posts}) == 1


@pytest.mark.parametrize(("name", "started"), [("flask", "Running on http://"), ("fastapi", "Uvicorn running on")])
def test_a_python_application_waits_for_a_moment_and_not_for_an_hour(
    example_at: ExampleAt, port: int, name: str, started: str
) -> None:
    with busy_door(*A_MOMENT) as door:
        application = example_at(name, door.url)
        with application.running() as program:
            program.expect(started)
            assert '"notified":[2]' in application.try_it(port)
            assert len(door.posts) == 3
            assert are_of_one_event(door.posts)

            door.refuse(AN_HOUR)
            assert "could not be notified; try again" in application.try_it(port)
            assert len(door.posts) == 4
            assert '"notified":[2]' in application.try_it(port)
            assert are_of_one_event(door.posts)


def test_django_sends_a_row_until_it_is_taken(example_at: ExampleAt, port: int) -> None:
    with busy_door(*A_MOMENT) as door:
        studio = example_at("django", door.url)
        with studio.running() as program:
            program.expect("Starting development server")
            studio.run("python manage.py createsuperuser --noinput --username mali --email mali@example.com")
            wait_for(lambda: len(door.posts) == 3)
            assert are_of_one_event(door.posts)


def test_the_script_for_cron_repeats_what_was_refused_and_says_nothing_of_it(example_at: ExampleAt) -> None:
    with busy_door(Busy(429, 1), Busy(503, None)) as door:
        overdue = example_at("cron", door.url)
        with overdue.running() as program:
            assert (program.process.wait(PATIENCE), program.output) == (0, "")
    assert len(door.posts) == 3
    assert are_of_one_event(door.posts)
    assert waited(door, 0) >= 1


def test_java_waits_for_as_long_as_it_is_asked_to_but_not_for_an_hour(example_at: ExampleAt) -> None:
    with busy_door(Busy(429, 1), Busy(503, None)) as door:
        java = example_at("java", door.url)
        java.run('sed -i "s/FIRST_WAIT_MS = 1000/FIRST_WAIT_MS = 10/" Notify.java && javac Notify.java')
        with java.running() as program:
            program.expect('"userId": 2')
            assert program.process.wait(PATIENCE) == 0
        assert len(door.posts) == 3
        assert are_of_one_event(door.posts)
        assert waited(door, 0) >= 1

        door.refuse(AN_HOUR)
        assert "503" in java.run("! java Notify 2 'The report is ready'")
        assert len(door.posts) == 4


def test_express_hands_on_when_to_try_again(example_at: ExampleAt, port: int) -> None:
    with busy_door(Busy(429, 7)) as door:
        express = example_at("express", door.url)
        with express.running() as program:
            program.expect(f"http://127.0.0.1:{port}")
            ship = f"curl -sS --include --json '{{\"customer\": 2}}' http://127.0.0.1:{port}/orders/4711/ship"
            head, _, body = express.run(ship).partition("\n\n")
            assert head.startswith("HTTP/1.1 429 ")
            assert "Retry-After: 7" in head.splitlines()
            assert "try again later" in body
            assert '"userId": 2' in express.run(ship)
        assert are_of_one_event(door.posts)


def waited(door: Door, number: int) -> float:
    """The seconds between a post and the next one."""
    return door.posts[number + 1].at - door.posts[number].at

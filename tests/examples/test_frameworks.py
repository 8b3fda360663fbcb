"""The examples for Python's frameworks: whoever asks again notifies nobody twice."""

from __future__ import annotations

import pytest

from tests.examples.example import Installed, inbox, wait_for
from tests.web.site import Site


@pytest.mark.parametrize(
    ("name", "started", "notified", "title"),
    [
        ("flask", "Running on http://", '"notified":[2]', "Order 4711 is on its way"),
        ("fastapi", "Uvicorn running on", '"notified":[2]', "Job 7 assigned to you"),
    ],
)
def test_a_python_application_notifies_once_however_often_it_is_asked(
    example: Installed, site: Site, port: int, name: str, started: str, notified: str, title: str
) -> None:
    application = example(name)
    with application.running() as program:
        program.expect(started)
        for _ in range(2):
            assert notified in application.try_it(port)
    assert inbox(site) == [title]


def test_django_publishes_what_was_committed_once_djactors_can_be_reached(
    example: Installed, site: Site, port: int
) -> None:
    studio = example("django")
    assert (studio.folder / "studio/settings.py").read_text().count("djactors.django") == 1
    with studio.running() as program:
        program.expect("Starting development server")
        assert '"assignee": "somchai"' in studio.try_it(port)
        wait_for(lambda: inbox(site) == ["Job 1 assigned to you"])

        site.kill()
        again = f"http://127.0.0.1:{port}/jobs/1/assign"
        studio.run(f'curl -sS --fail --json \'{{"assignee": "mali"}}\' {again}')
        studio.run(f'! curl -sS --fail --json \'{{"assignee": "nobody"}}\' {again}')
        studio.run(f'curl -sS --fail --json \'{{"assignee": "somchai"}}\' {again}')
        site.start()
        wait_for(lambda: len(inbox(site)) > 1)
        assert inbox(site) == ["Job 1 assigned to you"] * 2

"""Fixtures of the examples' tests: a server of each test's own, and the shell that the lines are typed into."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.examples.example import Example, Installed, active_environment
from tests.project.test_readme import free_port
from tests.serving import SECRET, service_token
from tests.web.conftest import browser as browser  # noqa: PLC0414
from tests.web.site import Site, running_site

TENANT = 1
"""The tenant of the examples, which the token that they are given is for."""


@pytest.fixture
def port() -> int:
    """Where the example listens."""
    return free_port()


@pytest.fixture
def site(tmp_path: Path, port: int) -> Iterator[Site]:
    """The server that the example talks to, which allows the example's pages."""
    # It looks at each token with its heartbeats, and these are frequent.
    settings = {"DJACTORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port}", "DJACTORS_PING_INTERVAL": "0.5"}
    with running_site(tmp_path, settings) as running:
        yield running


@pytest.fixture
def example(site: Site, example_at: Callable[[str, str], Example]) -> Installed:
    """`example(name)`: a copy of that example, installed by its first line."""
    return lambda name: example_at(name, site.url)


@pytest.fixture
def example_at(port: int, tmp_path: Path, path_with_node: str) -> Callable[[str, str], Example]:
    """`example_at(name, url)`: the same for a server at that address."""

    def installed(name: str, url: str) -> Example:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DJACTORS_", "COV_"))}
        binaries = active_environment(tmp_path / "venv")
        made = Example(
            name,
            tmp_path,
            {
                **kept,
                "PATH": f"{binaries}{os.pathsep}{path_with_node}",
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                "PYTHONUNBUFFERED": "1",
                "JWT_SECRET": SECRET,
                "DJACTORS_URL": url,
                "DJACTORS_TOKEN": service_token(TENANT),
                "PORT": str(port),
            },
        )
        made.install()
        return made

    return installed

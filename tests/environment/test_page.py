"""The page is built when it must be, and then only."""

import json
import os
from pathlib import Path

import pytest

from djactors.web.build import SOURCES, build_page, is_built
from djactors.web.node import NpmFailed

BUILD = "mkdir -p dist && cat src/main.js > dist/index.html"


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """A page without dependencies, whose build copies its one source."""
    for name in ("src", "packages/react/src", "public", "scripts"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("index.html", "vite.config.js", "src/main.js"):
        (tmp_path / name).write_text("first")
    head = {"name": "page", "version": "1.0.0"}
    (tmp_path / "package.json").write_text(json.dumps({**head, "scripts": {"build": BUILD}}))
    (tmp_path / "package-lock.json").write_text(json.dumps({**head, "lockfileVersion": 3, "packages": {"": head}}))
    (tmp_path / "node_modules").mkdir()
    return tmp_path


def touch(file: Path, web: Path) -> None:
    """As if it were changed a second after the build."""
    later = (web / "dist" / "index.html").stat().st_mtime_ns + 10**9
    os.utime(file, ns=(later, later))


def test_a_page_is_built_once_and_then_left_alone(web: Path) -> None:
    said: list[str] = []
    build_page(said.append, web)
    assert (web / "dist" / "index.html").read_text() == "first"
    assert len(said) == 2
    build_page(said.append, web)
    assert len(said) == 2


@pytest.mark.parametrize("changed", [*SOURCES, "src/main.js"])
def test_whatever_it_is_made_from_makes_it_old(web: Path, changed: str) -> None:
    build_page(lambda line: None, web)
    assert is_built(web)
    touch(web / changed, web)
    assert not is_built(web)


def test_a_build_that_fails_is_said(web: Path) -> None:
    head = {"name": "page", "version": "1.0.0"}
    (web / "package.json").write_text(json.dumps({**head, "scripts": {"build": "exit 3"}}))
    with pytest.raises(NpmFailed, match="npm run build failed"):
        build_page(lambda line: None, web)

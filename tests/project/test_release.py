"""What a release promises to whoever installs it: a version that stands once, a licence, and a list of what changed."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path

from djactors import __version__

ROOT = Path(__file__).parent.parent.parent
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
HEADINGS = re.findall(r"^## \[([^\]]+)\](?: - (\S+))?$", CHANGELOG, re.MULTILINE)
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
"""The headings of keepachangelog.com, which the changelog follows."""


def test_the_version_stands_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]


def test_the_changelog_tells_of_this_version() -> None:
    versions = [version for version, _ in HEADINGS]
    assert versions[0] == "Unreleased"
    assert ("Unreleased" if "dev" in __version__ else __version__) in versions


def test_every_release_in_the_changelog_has_its_day_and_newer_ones_come_first() -> None:
    releases = [(tuple(map(int, version.split("."))), date.fromisoformat(day)) for version, day in HEADINGS[1:]]
    assert releases
    assert releases == sorted(releases, reverse=True)


def test_the_changelog_has_no_other_headings_than_its_style_knows() -> None:
    assert set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE)) <= KINDS


def test_the_licence_is_the_one_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert project["license-files"] == ["LICENSE"]
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence

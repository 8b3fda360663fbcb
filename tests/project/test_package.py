"""The package for other applications: what its README guide, its manifest and its example say of it is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

from djactors import __version__
from djactors.web.build import WEB

ROOT = Path(__file__).parents[2]
PACKAGE = WEB / "packages" / "react"
HOST = WEB / "examples" / "host"

_README = (ROOT / "README.md").read_text()
GUIDE = _README.partition("### In your own React application\n")[2].partition("\n### ")[0]


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_guide_shows_what_the_example_has() -> None:
    sources = [path.read_text() for path in (HOST / "src").iterdir()]
    blocks = code_blocks("tsx") + code_blocks("css")
    assert len(blocks) == 4
    assert [block for block in blocks if not any(block in source for source in sources)] == []


def test_the_guide_begins_with_cors() -> None:
    assert GUIDE.index("DJACTORS_ALLOWED_ORIGINS=") < GUIDE.index("npm pack") < GUIDE.index("DjactorsProvider")


def test_the_guide_names_every_component_and_hook() -> None:
    exported = re.findall(r"^export \{ (.*) \} from", (PACKAGE / "src" / "index.js").read_text(), re.MULTILINE)
    names = {name for group in exported for name in group.split(", ")}
    parts = {name for name in names if name[0].isupper() or name.startswith("use")} - {"ApiError", "useDjactors"}
    assert {name for name in parts if f"`{name}`" not in GUIDE} == set()


def test_the_guide_names_every_colour() -> None:
    theme = (PACKAGE / "src" / "theme.css").read_text()
    variables = set(re.findall(r"^  (--dj-[\w-]+):", theme, re.MULTILINE))
    colours = {name for name in variables if not name.startswith("--dj-brand-")} | {"--dj-brand"}
    soft = {name for name in colours if name.endswith("-soft")}
    assert len(colours) > 20
    assert {name for name in colours - soft if f"`{name}`" not in GUIDE} == set()
    assert {name.removesuffix("-soft") for name in soft} <= colours


def test_the_package_has_the_version_of_the_server() -> None:
    version = json.loads((PACKAGE / "package.json").read_text())["version"]
    assert version.replace("-dev.", ".dev") == __version__


def test_the_application_locks_all_but_the_package_itself() -> None:
    locked = json.loads((HOST / "package-lock.json").read_text())["packages"]
    unproved = [name for name, entry in locked.items() if name and "integrity" not in entry]
    assert unproved == ["node_modules/@djactors/react"]
    manifest = json.loads((PACKAGE / "package.json").read_text())
    entry = locked["node_modules/@djactors/react"]
    assert {key: entry[key] for key in ("version", "dependencies", "peerDependencies")} == {
        key: manifest[key] for key in ("version", "dependencies", "peerDependencies")
    }

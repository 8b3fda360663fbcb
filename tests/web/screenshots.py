"""Pictures of the page, taken with Chromium.

``python -m tests.web.screenshots [--out DIR] [VIEW …]`` takes a picture of every view, or of those that are named, in
both themes, on desktop and phone. They are for looking at, because only people can judge what is beautiful. They go to
``build/screenshots`` by default.

``python -m tests.web.screenshots --readme`` takes the one picture of the README, and puts it in its place.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from djactors.web.build import build_page
from tests.environment.preparation import find_chromium
from tests.web.site import ALICE, BOB, NOK, Studio, running_site
from tests.web.views import VIEWS, Scene, furnish, go
from tests.web.visitor import DESKTOP, PHONE, open_visitor

ROOT = Path(__file__).parents[2]
OUT = ROOT / "build" / "screenshots"
README_PICTURE = ROOT / "djactors" / "web" / "screenshot.png"
README_SIZE = (1080, 620)
"""Small enough for the text in it to be readable in the width that a README is shown in."""

SIZES = {"desktop": DESKTOP, "phone": PHONE}
THEMES = ("light", "dark")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.web.screenshots")
    parser.add_argument("views", nargs="*", metavar="VIEW", help=f"{', '.join(VIEWS)}; by default all of them")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--readme", action="store_true", help=f"only take {README_PICTURE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    out: Path = arguments.out
    names: list[str] = arguments.views or list(VIEWS)
    if unknown := [name for name in names if name not in VIEWS]:
        parser.error(f"no such view: {', '.join(unknown)}")
    chromium = find_chromium()
    if chromium is None:
        print("no Chromium: run `python -m tests --prepare`", file=sys.stderr)
        return 2
    build_page(print)
    if not arguments.readme:
        out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running_site(Path(folder)) as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            scene = furnish(Studio(site))
            if arguments.readme:
                print(_take_for_readme(browser, scene))
                return 0
            for theme in THEMES:
                for size in SIZES:
                    for name in names:
                        print(_take(browser, scene, name, theme, size, out))
        finally:
            browser.close()
    return 0


def _take(browser: Browser, scene: Scene, name: str, theme: str, size: str, out: Path) -> Path:
    visitor = open_visitor(browser, scene.studio.site, name, theme=theme, size=SIZES[size])
    try:
        go(visitor, name, scene)
        file = out / f"{name}-{size}-{theme}.png"
        visitor.page.screenshot(path=file)
    finally:
        visitor.context.close()
    return file


def _take_for_readme(browser: Browser, scene: Scene) -> Path:
    """The queue of somebody who is given a job at this moment."""
    visitor = open_visitor(browser, scene.studio.site, "readme", theme="light", size=README_SIZE)
    try:
        visitor.sign_in(scene.studio.token(BOB))
        visitor.show_jobs("All jobs")
        job = scene.studio.act(ALICE, title="Menu for the summer party", assigneeId=BOB, approverId=NOK)
        expect(visitor.toast(f"{job['djId']} assigned to you")).to_be_visible()
        visitor.settle()
        visitor.page.screenshot(path=README_PICTURE)
    finally:
        visitor.context.close()
    return README_PICTURE


if __name__ == "__main__":
    sys.exit(main())

"""``python -m tests.web.screenshots [--out DIR]``: a picture of every view, in both themes, on desktop and phone.

They are for looking at: what is beautiful is judged by people. The pictures go to ``build/screenshots`` by default.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from djactors.web.build import build_page
from tests.environment.preparation import find_chromium
from tests.web.site import Studio, running_site
from tests.web.views import VIEWS, Scene, furnish, go
from tests.web.visitor import DESKTOP, PHONE, open_visitor

OUT = Path(__file__).parents[2] / "build" / "screenshots"
SIZES = {"desktop": DESKTOP, "phone": PHONE}
THEMES = ("light", "dark")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.web.screenshots")
    parser.add_argument("--out", type=Path, default=OUT)
    out: Path = parser.parse_args().out
    chromium = find_chromium()
    if chromium is None:
        print("no Chromium: run `python -m tests --prepare`", file=sys.stderr)
        return 2
    build_page(print)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running_site(Path(folder)) as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            scene = furnish(Studio(site))
            for theme in THEMES:
                for size in SIZES:
                    for name in VIEWS:
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


if __name__ == "__main__":
    sys.exit(main())

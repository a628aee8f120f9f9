"""Make the README's picture from a finished demo: python .ci/pictures.py DEMO_FOLDER (needs Chromium)."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURES = Path(__file__).parents[1] / "notebooks" / "pictures"


def main(folder: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": 1280, "height": 1480})
        page.goto((folder / "report.html").resolve().as_uri())
        page.wait_for_selector("#map-app[data-ready=true]")
        page.wait_for_timeout(500)
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / "report.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

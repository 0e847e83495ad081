"""Takes the picture of the page in app.md.

commonscale demo --out DEMO
commonscale app DEMO/index --port 7861 &
python docs/app_screenshot.py http://127.0.0.1:7861 docs/app.png
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
QUESTION = "How many blue boats are there to the left of three yellow cups on a meadow?"


def main() -> None:
    """Ask, compare, and save what is seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("file", type=Path)
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--scheme", default="light", choices=["light", "dark"])
    parser.add_argument("--size", default="1280x800")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--scale", action="store_true")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    names = (os.environ.get("COMMONSCALE_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, (shutil.which(name) for name in names if name)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        tab = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme=arguments.scheme, reduced_motion="reduce"
        )
        tab.set_default_timeout(120_000)
        tab.goto(arguments.url)
        tab.wait_for_selector("#question textarea")
        if arguments.question:
            tab.fill("#question textarea", arguments.question)
            tab.keyboard.press("Enter")
            tab.wait_for_selector("#live .meta, #live .error")
        if arguments.compare:
            tab.get_by_role("switch").click()
        if arguments.scale:
            tab.get_by_role("tab", name="Scale").click()
            tab.wait_for_selector(".chart")
        tab.wait_for_load_state("networkidle") if not arguments.question else tab.wait_for_timeout(1000)
        with Image.open(io.BytesIO(tab.screenshot())) as picture:
            # A page has few colours: a palette makes the file a third of the size, and nobody sees it.
            picture.convert("RGB").quantize(192).save(arguments.file, optimize=True)
        browser.close()


if __name__ == "__main__":
    main()

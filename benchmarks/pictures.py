"""Makes the pictures of the page that its documentation shows, from two of the examples.

    python benchmarks/pictures.py     # writes tcrules/report/pictures/*.png; needs chromium, chromedriver, selenium

Look at each picture before it is committed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "tcrules" / "report" / "pictures"
#: Example -> how it is started.
RUNS = {
    "clip-scaled-gradients": [sys.executable],
    "ddp-drift": [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"],
}
WIDTH = 1000
MOST_BYTES = 200_000


def make_page(example: str, folder: Path) -> Path:
    """The page of an example, made where the script is, so that places are told as a user sees them."""
    home = folder / example
    shutil.copytree(ROOT / "examples" / example, home)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    tcrules, run = [sys.executable, "-m", "tcrules"], "runs/a"
    commands = (
        [*tcrules, "record", "-o", run, "--", *RUNS[example], "train.py"],
        [*tcrules, "report", run, "-o", "report.html"],
    )
    for command in commands:
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=300)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return home / "report.html"


def open_browser() -> Any:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


def show(browser: Any, page: Path, height: int, scheme: str = "light", width: int = WIDTH) -> None:
    """Open a page in a window of this size."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())


def draw(browser: Any, clipped: Path, drifted: Path, target: Path) -> None:
    """All pictures."""
    show(browser, clipped, 900)
    browser.save_screenshot(str(target / "page.png"))
    show(browser, drifted, 900, "dark")
    browser.save_screenshot(str(target / "dark.png"))
    show(browser, drifted, 900, width=1240)
    graph = browser.find_element("css selector", ".story[open] .graph")
    graph.send_keys("0")
    graph.screenshot(str(target / "graph.png"))
    others = "header, #causes, #rules, #coverage, #environment"
    hide = f"for (const one of document.querySelectorAll('{others}')) one.remove()"
    browser.execute_script(hide)
    bottom = browser.execute_script(
        "return document.querySelector('#plots').getBoundingClientRect().bottom + scrollY"
    )
    show(browser, drifted, int(bottom) + 10)
    browser.execute_script(hide)
    browser.save_screenshot(str(target / "timeline.png"))


def main() -> int:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        pages = [make_page(example, Path(home)) for example in RUNS]
        browser = open_browser()
        try:
            draw(browser, *pages, TARGET)
        finally:
            browser.quit()
    large = []
    for picture in sorted(TARGET.glob("*.png")):
        size = picture.stat().st_size
        print(f"{picture.relative_to(ROOT)}  {size / 1e3:.0f} kB")
        large += [picture.name] if size > MOST_BYTES else []
    return int(bool(large))


if __name__ == "__main__":
    sys.exit(main())

"""Recorded runs for the tests of the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FAULTY = """
import sys
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(5):
    if "--fixed" in sys.argv:
        optimizer.zero_grad()
    loss = model(torch.randn(16, 4)).square().mean()
    loss.backward()
    optimizer.step()
"""


def tcrules(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a shell would."""
    command = [sys.executable, "-m", "tcrules", *map(str, arguments)]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", cwd=cwd, env=settings, timeout=300
    )


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's chromium, headless, which logs what it asks for and complains of; skips where it is not installed."""
    if shutil.which("chromedriver") is None:
        pytest.skip("chromedriver is not installed (apt install chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,1600"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script `train.py` and the runs `faulty` and `fixed`."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "train.py").write_text(FAULTY)
    for name, flags in (("faulty", []), ("fixed", ["--fixed"])):
        done = tcrules("record", "-o", name, "--", sys.executable, "train.py", *flags, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder

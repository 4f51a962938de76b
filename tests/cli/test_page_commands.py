"""`report`, `serve` and `diff` as a stranger uses them: odd paths, pipes, runs that go on, ports in use, Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from tcrules import paging

from .conftest import FAULTY, tcrules
from .helping import command

COMMAND = [sys.executable, "-m", "tcrules"]


@pytest.fixture
def thing(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Something that is no run."""
    path = tmp_path / "thing"
    if request.param == "file":
        path.write_bytes(b"")
    elif request.param != "missing":
        path.mkdir()
    if request.param == "damaged":
        (path / "run.json").write_text("{")
    return path


@pytest.mark.parametrize("thing", ["missing", "file", "folder", "damaged"], indirect=True)
@pytest.mark.parametrize("name", ["report", "diff", "diff with"])
def test_what_is_no_run_is_refused(thing: Path, name: str, runs: Path):
    words = {"report": [thing], "diff": [thing, runs / "fixed"], "diff with": [runs / "fixed", thing]}[name]
    done = command(name.split()[0], *words)
    assert done.exit_code == 2 and "thing" in done.stderr and "help: " in done.stderr
    assert "itself failed" not in done.stderr and done.stdout == ""


@pytest.mark.parametrize("thing", ["missing", "file"], indirect=True)
def test_only_folders_are_served(thing: Path):
    done = command("serve", thing)
    assert done.exit_code == 2 and "thing" in done.stderr


def test_a_page_that_cannot_be_written_leaves_nothing(runs: Path, tmp_path: Path):
    (tmp_path / "file").write_text("here")
    done = command("report", runs / "faulty", "-o", tmp_path / "file" / "page.html")
    assert done.exit_code == 2 and "cannot be written" in done.stderr and "-o" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_page_that_cannot_be_written_keeps_the_old_one(runs: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(runs / "faulty", run)
    (run / "report.html").mkdir()  # as good as a folder that is read-only, which root may write
    done = command("report", run)
    assert done.exit_code == 2 and "report.html' cannot be written" in done.stderr


def test_a_page_goes_into_a_pipe(runs: Path, tmp_path: Path):
    whole = command("report", runs / "faulty", "-o", "-")
    assert whole.exit_code == 1 and whole.stdout.startswith("<!doctype html>")
    assert whole.stdout.rstrip().endswith("</html>")
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m tcrules report faulty -o - | head -c 15"],
        cwd=runs, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == "<!doctype html>" and "Traceback" not in done.stderr
    assert command("report", runs / "faulty", "-o", "-", "--open").exit_code == 2


def test_a_difference_goes_into_a_pipe(runs: Path):
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m tcrules diff faulty fixed --format json | head -c 1"],
        cwd=runs, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == "{" and "Traceback" not in done.stderr


def test_a_run_that_goes_on_has_a_page(tmp_path: Path):
    (tmp_path / "train.py").write_text(FAULTY + "import time\nprint('done', flush=True)\ntime.sleep(120)\n")
    words = [*COMMAND, "record", "-o", "run", "--", sys.executable, "train.py"]
    training = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert training.stdout is not None and training.stdout.readline() == "done\n"
        done = tcrules("report", "run", "-o", "page.html", cwd=tmp_path)
        assert done.returncode == 1, done.stderr
        page = (tmp_path / "page.html").read_text()
        assert "the run is still going on" in page and "gradients-start-empty" in page
    finally:
        training.send_signal(signal.SIGINT)
        training.communicate(timeout=60)


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, "serve", str(folder), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_ctrl_c_ends_serving_in_silence(runs: Path):
    with serving(runs) as process:
        assert process.stdout is not None and process.stdout.readline().startswith("http://127.0.0.1:")
        assert process.stderr is not None and "so far; Ctrl-C" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0 and told == ""


def test_ctrl_c_ends_a_report(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(paging, "page_of", interrupted)
    done = command("report", runs / "faulty", "-o", tmp_path / "page.html")
    assert done.exit_code == 130 and done.stderr == "tcrules: interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_refused(runs: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = command("serve", runs, "--port", taken.getsockname()[1])
    assert done.exit_code == 2 and "cannot be used" in done.stderr and "--port" in done.stderr


def test_faults_of_rules_are_told_before_serving(runs: Path, tmp_path: Path):
    done = command("serve", runs, "--rules", tmp_path / "nowhere.tcr")
    assert done.exit_code == 2 and "nowhere.tcr" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="devices of Unix")
def test_a_device_is_written_to_and_not_replaced(runs: Path):
    done = command("report", runs / "faulty", "-o", "/dev/null")
    assert done.exit_code == 1 and Path("/dev/null").is_char_device()

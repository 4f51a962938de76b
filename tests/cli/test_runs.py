"""Listing, removing and compacting runs, among folders that are none."""

from __future__ import annotations

import json
import os
import platform
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from tcrules.instrument.manifest import create_run, read_manifest, write_manifest
from tcrules.instrument.sink import Sink

from tcrules.cli.main import cli
from tcrules.importing.traincheck.importer import import_trace
from tests.cli.helping import command
from tests.cli.traces import training


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("healthy")
    import_trace(training(3).write(home / "trace"), home / "run")
    return home / "run"


@pytest.fixture
def folder(tmp_path: Path, healthy: Path) -> Path:
    """One good run, and everything that can be wrong."""
    home = tmp_path / "runs"
    shutil.copytree(healthy, home / "good")
    create_run(home / "going", ["python", "train.py", "--epochs", "1" * 99])  # by this process
    create_run(home / "killed", ["python", "train.py"])
    write_manifest(home / "killed", read_manifest(home / "killed").with_(pid=2**22 + 1))
    for name, content in (("bad", "{"), ("foreign", "{}"), ("deep", "[" * 100_000)):
        (home / name).mkdir()
        (home / name / "run.json").write_text(content)
    (home / "other").mkdir()
    (home / "torn").mkdir()
    shutil.copytree(home / "good", home / "torn", dirs_exist_ok=True)
    (home / "torn" / "facts" / "step.parquet").write_bytes(b"PAR1junkPAR1")
    (home / ".hidden").mkdir()
    (home / "file").write_text("x")
    return home


def test_all_folders_are_listed_with_what_they_are(folder: Path):
    done = command("runs", folder, "--json")
    assert done.exit_code == 0, done.output
    found = {Path(one["path"]).name: one for one in json.loads(done.stdout)}
    assert {name: one["status"] for name, one in found.items()} == {
        "good": "finished", "going": "running", "killed": "killed", "bad": "damaged", "foreign": "damaged",
        "deep": "damaged", "other": "no run", "torn": "damaged",
    }  # fmt: skip
    good = found["good"]
    assert (good["steps"], good["ranks"], good["command"]) == (3, 1, "traincheck-collect trace")
    assert good["facts"] > 50
    assert good["size"] == sum(path.stat().st_size for path in (folder / "good").rglob("*") if path.is_file())
    assert found["going"]["facts"] == -1


def test_experiments_with_runs_in_them(folder: Path, healthy: Path):
    for name in ("a", "b"):
        shutil.copytree(healthy, folder / "experiment" / name)
    (folder / "other" / "deep" / "deeper").mkdir(parents=True)
    listed = [Path(one["path"]) for one in json.loads(command("runs", folder, "--json").stdout)]
    assert {folder / "experiment" / "a", folder / "experiment" / "b", folder / "other"} <= set(listed)
    assert len(listed) == 10


def test_a_run_that_goes_on_shows_its_steps(folder: Path):
    sink = Sink(
        folder / "going" / "segments" / "1-1", describe=lambda: {"pid": os.getpid(), "status": "running"}
    )
    for step in range(7):
        sink.writer("step")(step, step, step)
    one = json.loads(command("runs", folder / "going", "--json").stdout)[0]
    assert (one["status"], one["steps"], one["ranks"], one["facts"]) == ("running", 7, 1, -1)


def test_the_table_goes_to_stdout(folder: Path):
    done = command("runs", folder)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["run", "status", "steps", "ranks", "facts", "size", "started", "command"]
    assert len(lines) == 9
    assert "…" in next(line for line in lines if "going" in line)
    assert "next: tcrules check" in done.stderr


def test_a_run_itself_and_nothing_at_all(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert len(json.loads(command("runs", folder / "good", folder / "other", "--json").stdout)) == 1
    assert command("runs", tmp_path / "none").exit_code == 2
    monkeypatch.chdir(folder / "other")
    done = command("runs")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no runs here" in done.stderr
    monkeypatch.chdir(folder.parent)  # has runs/
    assert "good" in command("runs").stdout


def test_a_folder_that_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch):
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.parent.name == "good":  # root may read everything, so a mode would not do
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    listed = json.loads(command("runs", folder, "--json").stdout)
    assert {Path(one["path"]).name: one["status"] for one in listed}["good"] == "no permission"
    assert len(listed) == 8


# ------------------------------------------------------------------------------------------ remove
def test_removing_needs_a_yes(folder: Path, monkeypatch: pytest.MonkeyPatch):
    done = command("runs", "remove", folder / "good")
    assert done.exit_code == 2
    assert "--yes" in done.stderr
    monkeypatch.setattr("tcrules.cli.query.on_terminal", lambda: True)
    asked = CliRunner().invoke(cli, ["runs", "remove", str(folder / "good")], input="n\n")
    assert (asked.exit_code, asked.stdout) == (2, "")
    assert "remove 1 run" in asked.stderr and "nothing was removed" in asked.stderr
    asked = CliRunner().invoke(cli, ["runs", "remove", str(folder / "torn")], input="y\n")
    assert asked.exit_code == 0
    assert not (folder / "torn").exists()
    done = command("runs", "remove", folder / "good", folder / "killed", "--yes")
    assert done.exit_code == 0, done.output
    assert "removed 2 runs" in done.stderr
    left = {path.name for path in folder.iterdir()}
    assert not left & {"good", "killed"}
    assert not any("removed" in name for name in left)


@pytest.mark.parametrize("name", ["bad", "foreign", "other", "file", "none", "going"])
def test_what_is_not_removed(folder: Path, name: str):
    done = command("runs", "remove", folder / "good", folder / name, "--yes")
    assert done.exit_code == 2
    assert "nothing was removed" in done.stderr
    assert (folder / "good").is_dir()  # all or none


def test_force(folder: Path):
    (folder / "good" / "thesis.tex").write_text("years of work")
    assert "thesis.tex" in command("runs", "remove", folder / "good", "--yes").stderr
    assert command("runs", "remove", folder / "going", folder / "good", "--yes", "--force").exit_code == 0
    assert command("runs", "remove", folder / "bad", "--yes", "--force").exit_code == 2
    assert not (folder / "going").exists()


def test_a_link_to_a_run_is_not_removed(folder: Path):
    (folder / "link").symlink_to(folder / "good")
    done = command("runs", "remove", folder / "link", "--yes", "--force")
    assert done.exit_code == 2
    assert "is a link" in done.stderr
    assert (folder / "good").is_dir()


# ------------------------------------------------------------------------------------------ compact
def test_compact_says_how_much_it_saved(folder: Path):
    done = command("compact", folder / "good")
    assert done.exit_code == 0, done.output
    assert "before" in done.stderr
    assert "next: tcrules runs" in done.stderr
    assert command("compact", folder / "going").exit_code == 2
    assert command("compact", folder / "other").exit_code == 2
    assert command("compact", folder / "torn").exit_code == 2


def test_a_run_of_another_host_may_still_go_on(folder: Path):
    manifest = read_manifest(folder / "killed")
    write_manifest(folder / "killed", manifest.with_(host=platform.node() + "-2"))
    assert "still being written" in command("runs", "remove", folder / "killed", "--yes").stderr

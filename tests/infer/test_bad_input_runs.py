"""`tcrules infer` on runs that are not as they should be: what is said, what is written, with which exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result
from tcrules.instrument.schema import SCHEMA_VERSION
from tcrules.rules.infer.cache import CACHE

from tcrules.cli import infer as infer_module
from tcrules.cli.main import cli

MakeRun: TypeAlias = Callable[..., Path]
LEARNED = "invariant learned-param-moves"


def call(runs: list[Path], output: Path, *options: object) -> Result:
    arguments = ["infer", "--jobs", "1", "--without", "mutation", *options, "-o", output, "--runs", *runs]
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def refused(result: Result, output: Path, *patterns: str) -> None:
    """Exit code 2, a message, and nothing written."""
    assert result.exit_code == 2, result.output
    for pattern in patterns:
        assert re.search(pattern, result.stderr), result.stderr
    assert not list(output.parent.glob(f"*{output.name}*")), "nothing half-written"


def learned(result: Result, output: Path, *patterns: str) -> str:
    """Exit code 0, remarks, and the rules."""
    assert result.exit_code == 0, result.output
    for pattern in patterns:
        assert re.search(pattern, result.stderr), result.stderr
    return output.read_text()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out" / "learned.tcr"


@pytest.fixture
def runs(make_run: MakeRun) -> list[Path]:
    return [make_run(f"own{seed}", seed=seed) for seed in (1, 2, 3)]


def manifest(run: Path, **entries: object) -> Path:
    """The run with other entries in its manifest."""
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**content, **entries}))
    return run


# ------------------------------------------------------------------------------------------------ folders


def test_folders_that_are_no_runs_are_all_named(runs: list[Path], output: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    bad = [tmp_path / "missing", tmp_path / "empty", tmp_path / "file"]
    refused(call([*runs, *bad], output), output, "missing", "empty", "file.*is a file", "help: record one")


def test_a_damaged_run_is_named(runs: list[Path], output: Path) -> None:
    (runs[1] / "facts" / "update.parquet").write_bytes(b"PAR1 this is no parquet file PAR1")
    refused(call(runs, output), output, "own2")


def test_a_run_of_a_later_version(runs: list[Path], output: Path) -> None:
    manifest(runs[2], schema=999)
    refused(call(runs, output), output, "own3.*schema version 999", "install the version")


def test_a_run_without_facts(write_facts: Callable[..., Path], runs: list[Path], output: Path) -> None:
    refused(
        call([*runs, write_facts("nothing", {})], output), output, "not train: nothing", "leave such runs"
    )


def test_the_same_run_twice_and_a_copy_of_it(runs: list[Path], output: Path, tmp_path: Path) -> None:
    shutil.copytree(runs[0], tmp_path / "copied")
    given = [*runs, runs[0], tmp_path / "copied"]
    text = learned(call(given, output), output, "own1 is given more than once", "copied is a copy of .*own1")
    assert "3 healthy runs" in text


# ------------------------------------------------------------------------------------------------ doubtful runs


def test_a_single_run(runs: list[Path], output: Path) -> None:
    assert LEARNED in learned(call(runs[:1], output), output, "1 run to learn from: with fewer than 3")


def test_runs_of_several_programs(write_facts: Callable[..., Path], runs: list[Path], output: Path) -> None:
    for run in runs[1:]:
        manifest(run, command="python other.py")
    learned(
        call(runs, output), output, r"2 programs: rules name nothing of one program \(other.py; train.py\)"
    )


def test_runs_of_several_versions(runs: list[Path], output: Path) -> None:
    manifest(runs[0], torch="1.13")
    learned(call(runs, output), output, r"different versions of torch \(1.13: own1; 2.9: own2, own3\)")


def test_runs_with_facts_of_several_versions(runs: list[Path], output: Path) -> None:
    manifest(runs[0], schema=1)
    learned(
        call(runs, output), output, rf"different versions of facts \(1: own1; {SCHEMA_VERSION}: own2, own3\)"
    )


def test_a_run_that_was_cut_off(make_run: MakeRun, runs: list[Path], output: Path) -> None:
    cut = make_run("cut", seed=9, status="killed")
    assert LEARNED in learned(call([*runs, cut], output), output, "cut did not come to its end")


@pytest.fixture
def train(make_run: MakeRun) -> Callable[..., Path]:
    """A run with facts about its configuration."""

    def make(number: int, **settings: object) -> Path:
        import duckdb

        run = make_run(f"r{number}", seed=number, command="python train.py")
        file = run / "facts" / "config.parquet"
        with duckdb.connect() as connection:
            connection.execute(f"CREATE TABLE config AS SELECT * FROM '{file}'")
            for number, (key, value) in enumerate(settings.items()):
                connection.execute(
                    "INSERT INTO config VALUES (?, 0, ?, ?, 'argv', '', '', false, 0.0)",
                    [10**6 + number, key, str(value)],
                )
            connection.execute(f"COPY config TO '{file}'")
        return run

    return make


def test_runs_that_do_not_vary(train: Callable[..., Path], output: Path) -> None:
    runs = [train(n, seed=n, batch_size=32, lr=0.1, epochs=3) for n in (1, 2, 3)]
    learned(
        call(runs, output), output, r"agree in size \(batch_size 32\) and in schedule \(epochs 3, lr 0\.1\)\."
    )


def test_runs_that_vary_enough(train: Callable[..., Path], output: Path) -> None:
    runs = [train(n, seed=n, batch_size=8 * n, lr=0.1, epochs=n) for n in (1, 2, 3)]
    result = call(runs, output)
    learned(result, output)
    assert "do not vary" not in result.stderr


def test_one_command_and_no_settings(make_run: MakeRun, output: Path) -> None:
    runs = [make_run(f"r{n}", seed=n, command="python train.py") for n in (1, 2, 3)]
    learned(call(runs, output), output, "do not vary enough: they have one command")


# ------------------------------------------------------------------------------------------------ health


def test_a_run_that_the_library_alarms_on(make_run: MakeRun, runs: list[Path], output: Path) -> None:
    sick = make_run("sick", seed=9, stuck=["Net.h.0.bias"])
    pattern = "sick is not healthy: it violates .*optimizer-updates-params.*left out"
    first = learned(call([*runs, sick], output), output, pattern)
    assert "3 healthy runs" in first
    kept = learned(call([*runs, sick], output, "--keep-unhealthy"), output, "learned from all the same")
    assert "4 healthy runs" in kept
    output.unlink()
    refused(call([sick], output), output, "none of the runs is healthy", "tcrules check RUN")


def test_what_the_project_suppresses_is_healthy(
    make_run: MakeRun, runs: list[Path], output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sick = make_run("sick", seed=9, stuck=["Net.h.0.bias"])
    stderr = call([*runs, sick], output).stderr
    found = re.search(r"it violates ([^;]*);", stderr)
    assert found is not None
    lines = [f'suppress {rule} because "frozen on purpose"\n' for rule in found[1].split(", ")]
    (tmp_path / "meant.tcr").write_text("".join(lines))
    (tmp_path / "tcrules.toml").write_text('rules = ["meant.tcr"]\n')
    monkeypatch.chdir(tmp_path)
    result = call([*runs, sick], output)
    assert "4 healthy runs" in learned(result, output)
    assert "not healthy" not in result.stderr


# ------------------------------------------------------------------------------------------------ templates


def test_an_unsafe_template_is_shown_with_its_place(runs: list[Path], output: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tcr"
    bad.write_text(
        'template t(?P: param) {\n    each parameter(param: P), Q > 1\n    expect true message "m"\n}\n'
    )
    refused(call(runs, output, "--templates", bad), output, "error.TCR", "bad.tcr:2", r"\^")


def test_a_template_that_explodes(runs: list[Path], output: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide.tcr"
    wide.write_text(
        "template wide(?P: param, ?N: int) @tags(default) {\n"
        "    each update(param: P, nth: N), P = ?P, N = ?N expect true\n"
        '    message "{P} {N}"\n}\n'
    )
    result = call(runs, output, "--templates", wide, "--most-bindings", 20)
    assert LEARNED in learned(result, output, "template wide: more than 20 bindings .*--most-bindings")


def test_only_templates_needs_templates(runs: list[Path], output: Path) -> None:
    refused(call(runs, output, "--only-templates"), output, "no templates", "--templates FILE")


# ------------------------------------------------------------------------------------------------ writing


@pytest.mark.parametrize("step", ["write_text", "replace"])
def test_a_file_that_is_there_survives_what_fails(
    runs: list[Path], output: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    output.parent.mkdir()
    output.write_text("// mine\n")
    call(runs, output.with_name("other.tcr"))  # statistics are kept from here on
    output.with_name("other.tcr").unlink()

    def full(self: Any, *_: object, **__: object) -> None:
        if output.name in str(self):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full) if step == "write_text" else monkeypatch.setattr(
        os, "replace", full
    )
    result = call(runs, output)
    assert result.exit_code == 2
    assert "cannot be written: No space left on device" in result.stderr
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    assert output.read_text() == "// mine\n"


def test_a_refusal_leaves_the_file_as_it_is(runs: list[Path], output: Path, tmp_path: Path) -> None:
    output.parent.mkdir()
    output.write_text("// mine\n")
    assert call([*runs, tmp_path / "missing"], output).exit_code == 2
    assert output.read_text() == "// mine\n"


# ------------------------------------------------------------------------------------------------ interruption


def test_an_interruption_is_told(runs: list[Path], output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import contextmanager

    @contextmanager
    def stop(_what: str) -> Any:
        def progress(done: int, total: int) -> None:
            if done == total // 2:
                raise KeyboardInterrupt

        yield progress

    monkeypatch.setattr(infer_module, "part_bar", stop)
    result = call(runs, output)
    assert result.exit_code == infer_module.INTERRUPTED == 130
    assert re.search(r"interrupted: [12] of 3 runs are read; nothing is written", result.stderr)
    assert "the same command goes on from there" in result.stderr
    assert not output.exists()
    assert any((run / CACHE).exists() for run in runs)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal to a group of processes")
def test_control_c_ends_the_workers_too(make_run: MakeRun, output: Path) -> None:
    runs = [make_run(f"r{seed}", seed=seed, steps=40) for seed in range(8)]
    options = ["--jobs", "2", "--without", "mutation", "-o", output, "--runs", *runs]
    command = [sys.executable, "-m", "tcrules", "infer", *map(str, options)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not any((run / CACHE).exists() for run in runs) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130, stderr
    assert "interrupted" in stderr and "Traceback" not in stderr
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # nobody of the group is left
    assert not output.exists()
    result = call(runs, output)
    assert LEARNED in learned(result, output)

"""`tcrules infer` with rule files and options that are not as they should be, and Ctrl-C where nobody expects it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import pytest
from click.testing import CliRunner, Result
from tcrules.rules.infer.cache import CACHE

from tcrules.cli import check as check_module
from tcrules.cli.main import cli

MakeRun: TypeAlias = Callable[..., Path]


@pytest.fixture
def runs(make_run: MakeRun) -> list[Path]:
    return [make_run(f"own{seed}", seed=seed) for seed in (1, 2, 3)]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["infer", "--jobs", "1", "--without", "mutation", *map(str, arguments)])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"ab\n\xfe\x00c", "is not UTF-8"),
        ("invariant".encode("utf-16"), "UTF-16"),
        (b"print(1)\n", "old.tcr:1:8"),
    ],
)
def test_an_earlier_file_is_looked_at_before_runs_are_read(
    runs: list[Path], tmp_path: Path, content: bytes, said: str
) -> None:
    old = tmp_path / "old.tcr"
    old.write_bytes(content)
    result = call("--update", old, "-o", old, "--runs", *runs)
    assert result.exit_code == 2
    assert said in result.stderr and str(old) in result.stderr
    assert old.read_bytes() == content
    assert not any((run / CACHE).exists() for run in runs)


def test_template_files_without_a_template(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty.tcr").touch()
    result = call("--only-templates", "--templates", tmp_path / "empty.tcr", "-o", "x.tcr", "--runs", *runs)
    assert result.exit_code == 2
    assert "the template files have no template" in result.stderr


@pytest.mark.parametrize(
    "arguments", [["--runs", "-o", "x.tcr"], ["-o", "x.tcr", "--runs"], ["--runs", "--runs"]]
)
def test_runs_without_a_value(arguments: list[str]) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Option '--runs' requires an argument" in result.stderr


def interrupt(*_: Any, **__: Any) -> NoReturn:
    raise KeyboardInterrupt


def test_control_c_while_the_file_is_written(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out" / "learned.tcr"
    output.parent.mkdir()
    output.write_text("// mine\n")
    monkeypatch.setattr(os, "replace", lambda *places: interrupt() if output in places else None)
    result = call("-o", output, "--runs", *runs)
    assert result.exit_code == 130 and "interrupted" in result.stderr
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    assert output.read_text() == "// mine\n"


def test_control_c_is_no_verdict(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """1 would say that the run has violations."""
    monkeypatch.setattr(check_module, "show", interrupt)
    result = CliRunner().invoke(cli, ["check", str(runs[0])])
    assert result.exit_code == 130
    assert result.stderr == "tcrules: interrupted\n"

"""`tcrules query --facts`: rules over files of facts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from tcrules.cli.main import cli

PROGRAM = """
relation edge(from: int, to: int, kind: string)
relation path(from: int, to: int)
relation kinds(kind: string, count: int)

path(X, Y) :- edge(X, Y, _).
path(X, Z) :- path(X, Y), edge(Y, Z, _).
kinds(K, N) :- edge(_, _, K), N = count { edge(X, Y, K) }.
helper(X) :- path(X, X).
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "p.tcr").write_text(PROGRAM)
    (tmp_path / "edge.tsv").write_text('from\tto\tkind\n1\t2\tred\n2\t3\tred\n3\t1\t"blue, dark"\n')
    return tmp_path


def query(folder: Path, *arguments: object) -> Result:
    return CliRunner().invoke(
        cli, ["query", "--facts", str(folder), str(folder / "p.tcr"), *map(str, arguments)]
    )


def test_goal(data: Path):
    result = query(data, 'path(1, X), not edge(1, X, "red")', "--format", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == [{"X": 1}, {"X": 3}]
    assert "2 answers" in result.stderr


def test_counts_are_of_declared_results(data: Path):
    result = query(data, "--count")
    assert result.stdout == "path\t9\nkinds\t2\n"
    hinted = query(data)
    assert hinted.stdout == result.stdout
    assert "--out DIR" in hinted.stderr
    assert query(data, "--count", "--relation", "helper").stdout == "helper\t3\n"


@pytest.mark.parametrize("form", ["csv", "tsv", "parquet"])
def test_results_are_written_and_can_be_read_again(data: Path, form: str):
    result = query(data, "--out", data / "out", "--format", form)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (data / "out").iterdir()) == [f"kinds.{form}", f"path.{form}"]
    rows = duckdb.sql(f"FROM '{data / 'out' / f'kinds.{form}'}' ORDER BY kind").fetchall()
    assert rows == [("blue, dark", 1), ("red", 2)]
    (data / "next.tcr").write_text(
        "relation kinds(kind: string, count: int)\nmany(K) :- kinds(K, N), N > 1.\n"
    )
    again = CliRunner().invoke(
        cli, ["query", "--facts", str(data / "out"), str(data / "next.tcr"), "--count"]
    )
    assert again.stdout == "many\t1\n", again.output


def test_only_what_is_asked_for_is_read(data: Path):
    (data / "p.tcr").write_text(PROGRAM + "relation absent(x: int)\ngone(X) :- absent(X).\n")
    assert query(data, "path(1, X)").exit_code == 0
    refused = query(data, "gone(X)")
    assert refused.exit_code == 2
    assert "no facts of relation absent" in refused.stderr


def test_faults_of_all_files(data: Path):
    (data / "edge.tsv").write_text("1\t2\tred\nx\t3\tred\n4\t5\n")
    (data / "more.csv").write_bytes(b"1\n\xff\n")
    (data / "p.tcr").write_text(PROGRAM + "relation more(x: int)\nall(X) :- more(X), path(X, _).\n")
    refused = query(data, "all(X)")
    assert refused.exit_code == 2
    wanted = (
        "edge.tsv:2: column from: 'x' is no int",
        "edge.tsv:3: 2 columns instead",
        "more.csv:2: the byte 0xff",
    )
    for line in wanted:
        assert line in refused.stderr
    assert "Traceback" not in refused.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["path(X, Y, Z)"], "TCR203"),
        (["--relation", "pth"], "did you mean `path`?"),
        (["path(X, Y)", "--count"], "without a goal"),
        (["path(X, Y)", "--format", "parquet"], "--out"),
        (["--out", "o", "--format", "json"], "csv, tsv or parquet"),
    ],
)
def test_what_cannot_be_done(data: Path, arguments: list[str], words: str):
    refused = query(data, *arguments)
    assert refused.exit_code == 2, refused.output
    assert words in refused.stderr


def test_options_for_files_need_files(data: Path):
    refused = CliRunner().invoke(cli, ["query", str(data), "step(S)", "--count"])
    assert refused.exit_code == 2
    assert "go with --facts" in refused.stderr


def test_numbers_need_no_heavy_package(tmp_path: Path):
    (tmp_path / "p.tcr").write_text("relation e(x: int, y: float)\nbig(X) :- e(X, Y), Y > 1.0.\n")
    (tmp_path / "e.csv").write_text("1,0.5\n2,1.5\n")
    command = ["query", "--facts", str(tmp_path), str(tmp_path / "p.tcr"), "--count"]
    code = (
        f"import sys; from tcrules.cli.main import cli; cli.main({command!r}, standalone_mode=False); "
        "print(*sorted({'torch', 'duckdb', 'pandas', 'sqlglot', 'rich', 'networkx', 'msgspec'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "big\t1\n\n"


def test_answers_are_proved(data: Path):
    result = query(data, "path(1, 3)", "--why")
    assert result.exit_code == 0, result.output
    lines = [line.strip("│├└─ ") for line in result.stdout.splitlines()]
    assert lines[0] == "true"
    assert lines[1].startswith("path(from: 1, to: 3)  by path(from: X, to: Z) :-")
    assert lines[2].startswith("path(from: 1, to: 2)  by path(from: X, to: Y) :-")
    assert sum(line.endswith("observed") for line in lines) == 2


def test_all_proofs_as_a_hypergraph(data: Path):
    (data / "edge.tsv").write_text("1\t2\ta\n2\t4\ta\n1\t3\ta\n3\t4\ta\n")
    result = query(data, "path(1, X), X > 3", "--why", "--proofs", 9, "--format", "json")
    (found,) = json.loads(result.stdout)
    assert found["answer"] == {"X": 4}
    proofs = [
        proof["inferences"] for proof in found["proofs"] if proof["finalConclusion"] == "path(from: 1, to: 4)"
    ]
    assert len(proofs) == 2
    for inferences in proofs:
        conclusions = {inference["conclusion"] for inference in inferences}
        assert all(premise in conclusions for inference in inferences for premise in inference["premises"])


def test_the_nearest_miss_of_a_goal_without_answers(data: Path):
    result = query(data, "path(4, X), kinds(K, 2)", "--why")
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert "does not hold: path(4, X), kinds(K, 2)" in text
    assert "missing: path(from: 4, to: X)" in text and "as above" in text
    assert "where from is 3, not 4" in text

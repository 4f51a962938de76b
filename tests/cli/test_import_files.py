"""CSV and Parquet files become runs; their faults are told all at once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tcrules.instrument.runs import coverage, open_run

from tcrules.importing import files
from tcrules.importing.traincheck.importer import import_trace
from tests.cli.helping import command, statuses_of
from tests.cli.traces import training

STEPS = "step,begin,end\n0,1,9\n1,10,19\n2,20,29\n"
RATES = "nth,lr,optimizer,step,group,call,weight_decay\n"
RATES += "".join(f"{n},0.{n + 1},SGD#0,{n},0,{n + 1},0\n" for n in range(3))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "my [data]*"
    folder.mkdir()
    return folder


def facts(run: Path, relation: str) -> list[tuple[Any, ...]]:
    path = open_run(run).facts / f"{relation}.parquet"
    return (
        duckdb.read_parquet("".join(f"[{c}]" if c in "[*?" else c for c in str(path)))
        .order("fact")
        .fetchall()
    )


# ------------------------------------------------------------------------------------------ text
def test_relations_of_the_schema_and_others(data: Path, tmp_path: Path):
    (data / "step.csv").write_text(STEPS)
    (data / "param_group.csv").write_bytes(b"\xef\xbb\xbf" + RATES.replace("\n", "\r\n").encode())
    (data / "people.tsv").write_text('who\tage\tok\tempty\n"a ""b""\tc\nd"\t-3\tTRUE\t\nä\t4\tfalse\t\n')
    (data / "notes.txt").write_text("not a relation")
    run = tmp_path / "run"
    done = command("import", "csv", data, "-o", run)
    assert (done.exit_code, done.stdout) == (0, ""), done.output
    assert "relation people(who: string, age: int, ok: bool, empty: string)" in done.stderr
    assert [row[1:] for row in facts(run, "step")] == [(0, 0, 1, 9), (0, 1, 10, 19), (0, 2, 20, 29)]
    assert [row[1:] for row in facts(run, "people")] == [('a "b"\tc\nd', -3, True, ""), ("ä", 4, False, "")]
    numbers = [row[0] for relation in ("step", "param_group", "people") for row in facts(run, relation)]
    assert len(set(numbers)) == len(numbers)
    known = coverage(open_run(run))
    assert known.complete
    assert {"step", "param_group", "people"} <= known.recorded
    assert "optimizer_step" not in known.recorded
    assert command("query", run, "people(who: W, ok: true)", "--format", "csv").exit_code == 0


def test_the_run_is_an_ordinary_one(data: Path, tmp_path: Path):
    (data / "step.csv").write_text(STEPS)
    (data / "param_group.csv").write_text(RATES)
    run = tmp_path / "run"
    assert command("import", "csv", data, "-o", run).exit_code == 0
    rules = tmp_path / "own.tcr"
    rules.write_text(
        "/// Falls.\ninvariant rate-falls @error {\n    each    param_group(nth: N, lr: A, step: S), "
        'param_group(nth: N + 1, lr: B)\n    expect  B <= A\n    message "step {S}: rises"\n}\n'
        "/// Steps.\ninvariant has-steps @error {\n    each    param_group(step: S)\n"
        '    expect  optimizer_step(step: S)\n    message "none"\n}\n'
    )
    statuses = statuses_of(run, rules, exit_code=1)
    assert statuses == {"rate-falls": "violated", "has-steps": "unknown"}
    explained = command("explain", run, "V1", "--rules", rules, "--no-library")
    assert explained.exit_code == 0, explained.output
    assert "rises" in explained.stdout


def test_one_file_under_another_name_and_ranks(data: Path, tmp_path: Path):
    path = data / "losses of today.csv"
    path.write_text("rank,step,value,name\n1,0,0.5,loss\n0,0,nan,loss\n")
    run = tmp_path / "run"
    assert command("import", "csv", path, "-o", run).exit_code == 2
    assert command("import", "csv", path, "-o", run, "--relation", "metric").exit_code == 0
    assert [row[1] for row in facts(run, "process")] == [0, 1]
    assert str(facts(run, "metric")[1][4]) == "nan"
    assert json.loads((run / "run.json").read_text())["processes"][1]["world_size"] == 2


def test_all_faults_of_all_files_at_once(data: Path, tmp_path: Path):
    (data / "metric.csv").write_text("stp,value,name,value\n0,0.5,loss,1\n")
    (data / "step.csv").write_text(
        "step,begin,end\n0,x,9\n1,2\n\n3,4,99999999999999999999\n" + "y,1,1\n" * 50
    )
    (data / "mine.csv").write_text("a,b\n1,2\n3\n")
    (data / "quoted.csv").write_text('a,b\n1,"2\n3,4\n')
    (data / "latin.csv").write_bytes(b"a\n1\n\xe4\n")
    (data / "empty.csv").write_text("")
    (data / "names.csv").write_text("Bad Name,ok\n1,2\n")
    done = command("import", "csv", data, "-o", tmp_path / "run")
    assert done.exit_code == 2
    told = {line.removeprefix(f"{data}/") for line in done.stderr.splitlines()}
    assert {
        "metric.csv:1: unknown column 'stp'; did you mean `step`?",
        "metric.csv:1: no column `step`",
        "metric.csv:1: column `value` is there twice",
        "step.csv:2: column begin: 'x' is no int",
        "step.csv:3: 2 values instead of 3 (step, begin, end)",
        "step.csv:4: an empty line instead of 3 (step, begin, end)",
        "step.csv:5: column end: '99999999999999999999' is no int of 64 bits",
        "step.csv: there may be more faults",
        "mine.csv:3: 1 values instead of 2 (a, b)",
        "empty.csv: the file is empty",
        "names.csv:1: 'Bad Name' is no name of a column",
    } <= told
    assert any(line.startswith("quoted.csv:2:") for line in told)
    assert any(line.startswith("latin.csv:") and "UTF-8" in line for line in told)
    assert sum("step.csv" in line for line in told) == 21
    assert not (tmp_path / "run").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [data.name]


def test_an_empty_file_says_that_there_was_nothing(data: Path, tmp_path: Path):
    (data / "step.csv").write_text(STEPS)
    (data / "zero_grad.csv").write_text("call,object,step,at,set_to_none\n")
    (data / "mine.csv").write_text("a,b\n")
    run = tmp_path / "run"
    assert command("import", "csv", data, "-o", run).exit_code == 0
    known = coverage(open_run(run)).recorded
    assert {"zero_grad", "mine"} <= known
    assert "backward" not in known


@pytest.mark.parametrize(
    ("values", "kind"),
    [(["1", "-2"], "BIGINT"), (["1", "2.5"], "DOUBLE"), (["true", "False"], "BOOLEAN"), (["1", "true"], "VARCHAR"),
     (["1e3", "inf"], "DOUBLE"), (["9" * 19, "1"], "DOUBLE"), (["", "1"], "VARCHAR")],
)  # fmt: skip
def test_types_of_new_relations_fit_all_values(data: Path, tmp_path: Path, values: list[str], kind: str):
    (data / "mine.csv").write_text("\n".join(["x,y", *(f"{value},k" for value in values)]) + "\n")
    command("import", "csv", data, "-o", tmp_path / "run")
    path = tmp_path / "run" / "facts" / "mine.parquet"
    assert duckdb.sql(f"SELECT typeof(x) FROM '{path}'").fetchall()[0] == (kind,)


# ------------------------------------------------------------------------------------------ Parquet
def test_parquet_files(data: Path, tmp_path: Path):
    query = "SELECT (100 - i)::SMALLINT AS step, i::FLOAT / 3 AS value, 'l''' || i AS name, 7 AS fact"
    query += " FROM range(100) t(i)"
    duckdb.sql(query).write_parquet(str(data / "metric.parquet"))
    duckdb.sql("SELECT i AS n, i % 2 = 0 AS even FROM range(3) t(i)").write_parquet(
        str(data / "mine.parquet")
    )
    run = tmp_path / "run"
    done = command("import", "parquet", data, "-o", run)
    assert done.exit_code == 0, done.output
    assert "relation mine(n: int, even: bool)" in done.stderr
    rows = facts(run, "metric")
    assert [row[2] for row in rows] == [100 - i for i in range(100)]  # the order of the file
    assert rows[1][1:4] == (0, 99, "l'1")
    assert len({row[0] for row in rows + facts(run, "mine")}) == 103
    assert command("query", run, "mine(n: N, even: true)", "--format", "csv").stdout.split() == [
        "N",
        "0",
        "2",
    ]


def test_faults_of_parquet_files(data: Path, tmp_path: Path):
    query = "SELECT CASE WHEN i <> 4 THEN i END AS step, 'x' AS value, i AS nombre FROM range(9) t(i)"
    duckdb.sql(query).write_parquet(str(data / "metric.parquet"))
    query = (
        "SELECT i::UBIGINT * 3000000000 * 3000000000 AS step, 1 AS begin, NULL::INT AS end FROM range(3) t(i)"
    )
    duckdb.sql(query).write_parquet(str(data / "step.parquet"))
    duckdb.sql("SELECT [1, 2] AS list, 3 AS n").write_parquet(str(data / "mine.parquet"))
    (data / "torn.parquet").write_bytes(b"PAR1junk")
    done = command("import", "parquet", data, "-o", tmp_path / "run")
    assert done.exit_code == 2
    told = done.stderr
    assert "metric.parquet:1: unknown column 'nombre'; did you mean `name`?" in told
    assert "step.parquet:1: column end: there is no value (NULL)" in told
    assert re.search(r"step.parquet:3: column step: \d+ is no int of 64 bits", told)
    assert "column list is INTEGER[]" in told
    assert "torn.parquet: no readable Parquet file" in told
    assert not (tmp_path / "run").exists()


def test_facts_survive_the_way_out_and_in_again(data: Path, tmp_path: Path):
    first = tmp_path / "first"
    import_trace(training(3).write(tmp_path / "trace"), first)
    for name, path in open_run(first).relations().items():
        if name != "run":
            (data / f"{name}.parquet").write_bytes(path.read_bytes())
            duckdb.sql(f"COPY (SELECT * EXCLUDE (fact) FROM '{path}') TO '{tmp_path / name}.csv' (HEADER)")
    second, third = tmp_path / "second", tmp_path / "third"
    assert command("import", "parquet", data, "-o", second).exit_code == 0
    assert command("import", "csv", tmp_path, "-o", third).exit_code == 0
    for name in open_run(first).relations():
        if name != "run":
            expected = [row[1:] for row in facts(first, name)]
            assert [row[1:] for row in facts(second, name)] == expected
            columns = [row[1:] for row in facts(third, name)]
            assert columns == expected or name.startswith(
                "traincheck_"
            )  # a text that looks like a number is one


# ------------------------------------------------------------------------------------------ places
def test_what_is_no_source(data: Path, tmp_path: Path):
    run = tmp_path / "run"
    for words in (
        ("csv", tmp_path / "none"),
        ("csv", data),
        ("parquet", data),
        ("csv", data, "--relation", "x"),
    ):
        done = command("import", *words, "-o", run)
        assert done.exit_code == 2
        assert "help:" in done.stderr
    (data / "step.csv").write_text(STEPS)
    (data / "step.tsv").write_text(STEPS.replace(",", "\t"))
    assert "several files for step" in command("import", "csv", data, "-o", run).stderr


def test_facts_of_a_run_are_not_imported_without_what_it_recorded(data: Path, tmp_path: Path):
    (data / "step.csv").write_text(STEPS)
    assert command("import", "csv", data, "-o", tmp_path / "run").exit_code == 0
    for place in (tmp_path / "run", tmp_path / "run" / "facts"):
        done = command("import", "parquet", place, "-o", tmp_path / "copy")
        assert done.exit_code == 2
        assert "copy the run folder" in done.stderr


def test_a_full_disk(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_tables: object) -> None:
        raise duckdb.IOException("Could not write file: No space left on device")

    monkeypatch.setattr("tcrules.instrument.tables.Tables.finish", full)
    (data / "step.csv").write_text(STEPS)
    (tmp_path / f".run.import-{2**22 + 1}").mkdir()  # of an import that was killed
    done = command("import", "csv", data, "-o", tmp_path / "run")
    assert done.exit_code == 2
    assert "No space left" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [data.name]


def test_large_sources_wait_in_a_file(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "IN_MEMORY", 0)
    monkeypatch.setattr("tcrules.importing.target.BUFFER", 7)
    (data / "mine.csv").write_text("n\n" + "".join(f"{n}\n" for n in range(100)))
    run = tmp_path / "run"
    assert command("import", "csv", data, "-o", run).exit_code == 0
    assert [row[1] for row in facts(run, "mine")] == list(range(100))
    assert sorted(path.name for path in run.iterdir()) == ["facts", "run.json"]
    assert not list((run / "facts").glob(".*"))

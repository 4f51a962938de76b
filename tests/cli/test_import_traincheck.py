"""Traces of TrainCheck become runs: what they hold, what they do not hold, and what is broken in them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tcrules.instrument.errors import RunError
from tcrules.instrument.runs import coverage, open_run

from tcrules.importing.traincheck.importer import import_trace
from tcrules.importing.traincheck.relations import RELATIONS
from tests.cli.helping import command, statuses_of
from tests.cli.traces import ADAM, LINEAR, NET, STEP, ZERO, Trace, tensor, training


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "trace"


def imported(folder: Path) -> Path:
    run = folder.parent / "run"
    import_trace(folder, run, overwrite=True)
    return run


def facts(run: Path, relation: str, *columns: str) -> list[tuple[Any, ...]]:
    path = open_run(run).facts / f"{relation}.parquet"
    listed = ", ".join(f'"{column}"' for column in columns) or "* EXCLUDE (fact)"
    return duckdb.sql(f"SELECT {listed} FROM '{path}' ORDER BY fact").fetchall()


# ------------------------------------------------------------------------------------------ what a trace holds
def test_calls_nest_and_have_public_names(folder: Path):
    run = imported(training(1).write(folder))
    calls = facts(run, "call", "call", "api", "object", "parent", "step", "raised")
    assert [(api, thing, step) for _, api, thing, _, step, _ in calls] == [
        ("torch.manual_seed", "", 0),
        ("torch.optim.AdamW.__init__", "AdamW#0", 0),
        ("torch.optim.Optimizer.zero_grad", "AdamW#0", 1),
        ("torch.nn.Linear.forward", "Linear#0", 1),
        ("torch.Tensor.backward", "", 1),
        ("torch.optim.Adam._init_group", "AdamW#0", 1),
        ("torch.optim.Optimizer.step", "AdamW#0", 1),
    ]
    inner, outer = calls[-2], calls[-1]
    assert inner[3] == outer[0]
    assert outer[3] == 0
    assert not any(call[-1] for call in calls)


def test_events_of_the_optimizer(folder: Path):
    run = imported(training(3).write(folder))
    assert facts(run, "optimizer", "optimizer", "class") == [("AdamW#0", "AdamW")]
    steps = facts(run, "optimizer_step", "optimizer", "nth", "step", "skipped", "closure")
    assert steps == [("AdamW#0", nth, nth + 1, False, False) for nth in range(3)]
    assert facts(run, "zero_grad", "object", "step", "set_to_none") == [
        ("AdamW#0", s, True) for s in (1, 2, 3)
    ]
    assert facts(run, "seed", "api", "value") == [("torch.manual_seed", 3)]
    assert [step for (step,) in facts(run, "step", "step")] == [1, 2, 3]


def test_values_states_and_meta_variables(folder: Path):
    trace = training(2)
    trace.state("model.fc.weight", {"min": -1.0, "max": 2.0}, shape=[2, 3])
    run = imported(trace.write(folder))
    assert ("argument", "1", "torch.FloatTensor", "") in facts(
        run, "traincheck_value", "role", "place", "type", "value"
    )
    assert ("argument", "lr", "float", "0.01") in facts(
        run, "traincheck_value", "role", "place", "type", "value"
    )
    assert ("result", "float32", "8x2", "cpu", True, False) in facts(
        run, "traincheck_tensor", "role", "dtype", "shape", "device", "requires_grad", "leaf"
    )
    states = facts(
        run, "traincheck_state", "variable", "step", "data", "gradient", "has_gradient", "trainable"
    )
    assert states[:2] == [("model.fc.weight", s, 5 * s, s, True, True) for s in (1, 2)]
    changes = facts(run, "traincheck_variable", "attribute", "value", "step")
    assert ("shape", "[2, 2]", 1) in changes
    assert ("shape", "[2, 3]", 2) in changes
    assert ("data.max", "2.0", 2) in changes
    assert changes.count(("dtype", "torch.float32", 1)) == 1
    assert facts(run, "traincheck_meta", "name", "value", "step") == [
        ("stage", "init", 0),
        ("stage", "training", 1),
    ]


def test_lines_of_the_user_where_stacks_were_collected(folder: Path):
    trace = Trace()
    stack = [
        '  File "train.py", line 9, in main\n    f()\n',
        '  File "/x/site-packages/torch/a.py", line 3, in f\n',
    ]
    trace.call("torch.nn.functional.relu", "", tensor(2), stack_trace=stack)
    run = imported(trace.write(folder))
    assert facts(run, "location", "file", "line", "function") == [("train.py", 9, "main")]


def test_exceptions(folder: Path):
    trace = training(1)
    trace.end(trace.begin(LINEAR, NET), LINEAR, NET, exception="RuntimeError")
    run = imported(trace.write(folder))
    assert facts(run, "call", "raised")[-1] == (True,)
    assert facts(run, "traincheck_call", "exception")[-1] == ("RuntimeError",)


def test_closures_and_skipped_steps(folder: Path):
    trace = training(1)
    trace.meta = {"step": 2, "stage": "training"}
    trace.call(STEP, ADAM, {"function": {}})
    trace.meta = {"step": 3, "stage": "training"}
    scaler = "torch.amp.grad_scaler.GradScaler"
    trace.call(f"{scaler}.step", scaler, {ADAM: {}})
    key = trace.begin(f"{scaler}.step", scaler, {ADAM: {}})
    trace.call(STEP, ADAM)
    trace.end(key, f"{scaler}.step", scaler)
    run = imported(trace.write(folder))
    steps = facts(run, "optimizer_step", "nth", "step", "skipped", "closure")
    assert steps == [(0, 1, False, False), (1, 2, False, True), (2, 3, True, False), (3, 3, False, False)]
    assert facts(run, "scaler_step", "skipped") == [(True,), (False,)]


# ------------------------------------------------------------------------------------------ what it does not hold
def test_what_is_not_in_the_trace_is_not_recorded(folder: Path):
    run = imported(training().write(folder))
    known = coverage(open_run(run))
    assert {"call", "step", "optimizer_step", "zero_grad"} <= known.recorded
    for name in ("backward", "forward", "gradient", "param_state", "location", "seed", "scaler_step"):
        assert name not in known.recorded
    done = command("check", run, "--format", "json")
    assert done.exit_code == 2
    verdicts = [rule["status"] for rule in json.loads(done.stdout)["verdicts"].values()]
    assert set(verdicts) <= {"unknown", "vacuous"}


def test_what_was_not_collected_is_not_recorded(folder: Path):
    trace = training()
    trace.states = []
    run = imported(trace.write(folder))
    known = coverage(open_run(run))
    assert "traincheck_value" in known.recorded
    assert not {"traincheck_state", "traincheck_variable", "traincheck_uses"} & known.recorded
    rules = folder.parent / "own.tcr"
    rules.write_text(
        'import "traincheck.tcr"\n/// Seen.\ninvariant seen @error {\n    each    optimizer_step(step: S)\n'
        '    expect  traincheck_state(step: S)\n    message "none"\n}\n'
    )
    done = command("check", run, "--no-library", "--rules", rules, "--format", "json")
    assert json.loads(done.stdout)["verdicts"]["seen"]["status"] == "unknown"


def test_functions_that_were_instrumented_but_not_called_are_known_to_be_absent(folder: Path):
    trace = training()
    trace.write(folder)
    names = "torch.amp.grad_scaler.GradScaler.step\ntorch.optim.adam.Adam.step\n"
    log = f"junk\nFunctions instrumented with trace dumping enabled:\n{names}"
    log += f"Functions instrumented with trace dumping disabled:\n{ZERO}\n"
    (folder / "instrumentation_100.log").write_text(log)
    known = coverage(open_run(imported(folder)))
    assert "scaler_step" in known.recorded
    assert "zero_grad" not in known.recorded


def test_selective_sampled_and_compiled_traces_have_gaps(folder: Path):
    trace = Trace()
    for number in (1, 2, 5, 8):
        trace.step(number)
    trace.write(folder)
    (folder / "instr_opts.json").write_text("{}")
    (folder / "env_dump.txt").write_text(
        "Arguments:\npyscript: train.py\nsampling_interval: 3\nwarm_up_steps: 2\n\n"
        "Environment Variables:\nAPI_KEY: s3cret\nsampling_interval: 1\n"
    )
    run = open_run(imported(folder))
    gaps = {gap[1:4] for gap in coverage(run).gaps}
    assert {("*", 3, 4), ("*", 6, 7), ("call", 0, -1)} <= gaps
    assert run.manifest.command == "python train.py"
    assert any("the trace was sampled" in note for note in run.notes)


def test_many_steps_that_were_left_out_are_one_gap(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tcrules.importing.traincheck.process.MOST_GAPS", 2)
    trace = Trace()
    for number in (1, 2, 5, 8, 9, 12):
        trace.step(number)
    gaps = [gap for gap in coverage(open_run(imported(trace.write(folder)))).gaps if gap.relation == "*"]
    assert [(gap[2:4], gap.recorded) for gap in gaps] == [((3, 11), ((5, 5), (8, 9)))]


def test_step_numbers_that_are_no_count(folder: Path):
    trace = Trace()
    for number in (1, 1_700_000_000):
        trace.step(number)
    gaps = coverage(open_run(imported(trace.write(folder)))).gaps
    assert ("*", 0, -1) in [gap[1:4] for gap in gaps]


def test_without_arguments_there_are_no_doubtful_facts(folder: Path):
    trace = training(2)
    for place, line in enumerate(trace.lines):
        record = json.loads(line)
        record.pop("args", None)
        trace.lines[place] = json.dumps(record)
    known = coverage(open_run(imported(trace.write(folder))))
    assert not known.recorded & {"zero_grad", "optimizer_step"}
    assert ("traincheck_value", 0, -1) in {gap[1:4] for gap in known.gaps}
    assert "call" in known.recorded


def test_without_step_numbers_steps_are_counted(folder: Path):
    trace = training(3)
    trace.lines = [line.replace('"step": ', '"epoch": ') for line in trace.lines]
    trace.states = []
    run = imported(trace.write(folder))
    assert [step for (step,) in facts(run, "step", "step")] == [0, 1, 2]
    assert facts(run, "optimizer_step", "nth", "step") == [(0, 0), (1, 1), (2, 2)]


# ------------------------------------------------------------------------------------------ several processes
def test_ranks_that_processes_asked_for(folder: Path):
    for pid, rank in ((100, 1), (200, 0)):
        trace = training(2, pid=pid)
        trace.call("torch.distributed.distributed_c10d.get_rank", result={"int": rank})
        trace.call("torch.distributed.distributed_c10d.get_world_size", result={"int": 2})
        trace.write(folder)
    run = imported(folder)
    assert facts(run, "process", "rank", "pid", "world_size", "distributed") == [
        (1, 100, 2, True),
        (0, 200, 2, True),
    ]
    assert {rank for (rank,) in facts(run, "call", "rank")} == {0, 1}
    numbers = [call for (call,) in facts(run, "call", "call")]
    assert len(set(numbers)) == len(numbers)


def test_ranks_that_nobody_tells(folder: Path):
    for pid in (200, 100):
        training(2, pid=pid).write(folder)
    run = imported(folder)
    assert facts(run, "process", "rank", "pid") == [(0, 100), (1, 200)]
    assert any("numbered in the order" in note for note in open_run(run).notes)


def test_states_of_an_older_recording_in_the_same_folder(folder: Path):
    old, new = training(2, pid=50), training(2, pid=100)
    old.lines = []
    old.write(folder)
    (folder / "trace_API_50_7.log").unlink()
    new.write(folder)
    run = imported(folder)
    assert facts(run, "process", "pid") == [(100,)]
    assert any("states of process 50" in note for note in open_run(run).notes)


# ------------------------------------------------------------------------------------------ broken traces
def test_a_lost_end(folder: Path):
    trace = training(3)
    place = next(n for n, line in enumerate(trace.lines) if "_init_group" in line and "(post)" in line)
    del trace.lines[place]
    run = imported(trace.write(folder))
    assert len(facts(run, "call")) == len(facts(imported(training(3).write(folder.parent / "whole")), "call"))
    run = imported(folder)
    assert facts(run, "traincheck_unpaired", "missing", "step") == [("end", 1)]
    assert ("call", 1, 1) in {gap[1:4] for gap in coverage(open_run(run)).gaps}
    assert any("calls without an end" in note for note in open_run(run).notes)


def test_a_lost_beginning(folder: Path):
    trace = training(3)
    place = next(n for n, line in enumerate(trace.lines) if STEP in line and "(pre)" in line)
    del trace.lines[place]
    run = imported(trace.write(folder))
    assert facts(run, "traincheck_unpaired", "missing", "step") == [("begin", 1)]
    assert ("optimizer_step", 1, 1) in {gap[1:4] for gap in coverage(open_run(run)).gaps}


def test_repeated_lines_count_once(folder: Path):
    whole = imported(training(3).write(folder.parent / "whole"))
    expected = {
        name: facts(whole, name)
        for name in ("call", "optimizer_step", "traincheck_value", "traincheck_state")
    }
    trace = training(3)
    trace.lines = [line for line in trace.lines for _ in range(2)]
    trace.states = [line for line in trace.states for _ in range(2)]
    trace.write(folder)
    (folder / "trace_API_100_7 (copy).log").write_text((folder / "trace_API_100_7.log").read_text())
    run = imported(folder)
    assert {name: facts(run, name) for name in expected} == expected
    assert any("repeated lines" in note for note in open_run(run).notes)


def test_a_cut_off_trace_did_not_end(folder: Path):
    trace = training(3)
    trace.write(folder)
    path = folder / "trace_API_100_7.log"
    path.write_bytes(path.read_bytes()[:-250])
    run = open_run(imported(folder))
    assert run.manifest.status == "killed"
    assert not coverage(run).complete
    assert any("cut off, left out" in note for note in run.notes)


def test_junk_between_lines(folder: Path):
    trace = training(2)
    folder.mkdir()
    junk = [b"\xff\xfe\x00\x01 not text", b"[1, 2]", b"{}", b'{"type": "class_init"}', b"\0" * 40, b"", b"[" * 5000,
            b'{"type": "function_call (pre)", "function": 3}', b'{"type": "state_change"}']  # fmt: skip
    lines = [line.encode() for line in trace.lines]
    lines[3] = lines[3] + lines.pop(4)  # the line end between them is lost
    mixed = [part for line in lines for part in (line, random.Random(len(line)).choice(junk))] + junk
    (folder / "trace_API_100_7.log").write_bytes(b"\n".join(mixed))
    run = imported(folder)
    assert len(facts(run, "optimizer_step")) == 2
    assert len(facts(run, "call")) == len(trace.lines) // 2
    notes = " ".join(open_run(run).notes)
    assert "no JSON object" in notes
    assert "more than one record" in notes
    assert "unknown type" in notes


@pytest.mark.parametrize("seed", range(12))
def test_any_damage_gives_a_run_that_can_be_checked(folder: Path, seed: int):
    dice = random.Random(seed)
    trace = training(6)
    data = bytearray("\n".join([*trace.lines, *trace.states]).encode())
    for _ in range(40):
        place, length = dice.randrange(len(data)), dice.choice((1, 5, 300))
        data[place : place + length] = dice.choice(
            (b"", bytes(data[place : place + length]) * 2, dice.randbytes(length))
        )
    folder.mkdir()
    (folder / "trace_API_100_7.log").write_bytes(data)
    run = imported(folder)
    done = command("check", run, "--format", "json")
    assert done.exit_code == 2, done.output  # nothing is violated, nothing is held
    assert len(open_run(run).notes) > 1


def test_nothing_to_import(folder: Path):
    with pytest.raises(RunError, match="does not exist"):
        imported(folder)
    folder.mkdir()
    with pytest.raises(RunError, match="holds no trace"):
        imported(folder)
    (folder / "trace_API_1_1.log").write_bytes(b"")
    with pytest.raises(RunError, match="its files are empty"):
        imported(folder)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["trace"]


def test_secrets_homes_and_contents_stay_out(folder: Path):
    trace = training(2)
    trace.call(
        "torch.serialization.save",
        "",
        {"str": f"{Path.home()}/m.pt"},
        {"str": "/home/ann/x"},
        {"list": [0.125] * 99},
    )
    trace.end(trace.begin(LINEAR, NET), LINEAR, NET, exception="ValueError")
    trace.state("model.fc.bias", [0.123456] * 50, grad=[0.654321] * 50)
    trace.write(folder)
    (folder / "env_dump.txt").write_text(
        "Arguments:\npyscript: train.py\n\nEnvironment Variables:\nAPI_KEY: s3cret\n"
    )
    run = imported(folder)
    tables = list((run / "facts").iterdir())
    dump = " ".join(str(duckdb.sql(f"SELECT * FROM '{path}'").fetchall()) for path in tables)
    dump += (run / "run.json").read_text()
    for planted in ("s3cret", "0.123456", "0.654321", "0.125, 0.125", "/home/ann"):
        assert planted not in dump
    assert "~/m.pt" in dump or str(Path.home()) == "/"


# ------------------------------------------------------------------------------------------ the command
def test_the_command_tells_what_it_did_and_what_comes_next(folder: Path):
    training(3).write(folder)
    run = folder.parent / "run"
    done = command("import", "traincheck", folder, "-o", run)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "imported 1 process, 3 steps" in done.stderr
    assert "next: tcrules" in done.stderr
    again = command("import", "traincheck", folder, "-o", run)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    assert command("import", "traincheck", folder, "-o", run, "--overwrite").exit_code == 0
    assert command("import", "traincheck", folder / "none", "-o", run).exit_code == 2


def test_rules_and_queries_over_the_trace_s_own_relations(folder: Path, tmp_path: Path):
    run = imported(training(3).write(folder))
    asked = command(
        "query", run, "traincheck_state(step: S, data: D), optimizer_step(step: S)", "--format", "csv"
    )
    assert asked.stdout.split() == ["S,D", "1,5", "2,10", "3,15"]
    rules = tmp_path / "own.tcr"
    rules.write_text(
        'import "traincheck.tcr"\n'
        "/// Weights change.\ninvariant weights-change @error {\n"
        "    each    traincheck_state(rank: R, variable: V, step: S, data: D),\n"
        "            traincheck_state(rank: R, variable: V, step: S + 1, data: E)\n"
        '    expect  D != E\n    message "{V} stays"\n}\n'
        "/// Steps contain a group.\ninvariant steps-look-at-groups @error {\n"
        '    each    call(call: C, api: "torch.optim.Optimizer.step")\n'
        '    expect  call(parent: C, api: "torch.optim.Adam._init_group")\n    message "no group"\n}\n'
    )
    statuses = statuses_of(run, rules, exit_code=0)
    assert set(statuses.values()) == {"held"}


def test_declarations_are_those_that_are_shipped():
    from tcrules.engine.analyse import find_files, load
    from tcrules.grammar import ast
    from tcrules.rules.catalogue import shipped_file

    path = shipped_file("traincheck.tcr")
    assert path is not None
    statements = load([str(path)], find_files()).programs[0].program.statements
    declared = {
        s.name: [(c.name, c.type) for c in s.columns]
        for s in statements
        if isinstance(s, ast.RelationDeclaration)
    }
    assert declared == {r.name: [(c.name, c.type) for c in r.columns] for r in RELATIONS}

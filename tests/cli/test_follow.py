"""A run is checked while it goes on: violations are told early, once, and agree with the report at the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from tcrules.engine.facts import Coverage
from tcrules.instrument.attach import environment
from tcrules.instrument.manifest import create_run, read_manifest, write_manifest
from tcrules.rules.loading import load_rules

from tcrules.checking import check_run
from tcrules.cli import live as live_module
from tcrules.cli.live import Live, beside
from tcrules.following import Following, Sighting, Tired, divide
from tcrules.pace import Pace
from tcrules.rechecking import Rechecking
from tcrules.report.model import Violation
from tcrules.selection import Selection, needed

from .conftest import tcrules

#: Stops clearing gradients in some step; goes on until it is told, by a file, how to end.
ENDLESS = """
import os, signal, sys, time
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
print("begins", flush=True)
step, end = 0, ""
while not end:
    if step < int(sys.argv[1]):
        optimizer.zero_grad()
    model(torch.randn(16, 4)).square().mean().backward()
    optimizer.step()
    step += 1
    time.sleep(0.005)
    end = open("end").read() if os.path.exists("end") else ""
if end == "raise":
    raise RuntimeError("the training breaks")
if end == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
print("ends", flush=True)
"""
#: Replicas drift apart on rank 1.
RANKS = """
import os, time
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
torch.manual_seed(0)
model = DistributedDataParallel(nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
torch.manual_seed(dist.get_rank())
end, step = torch.zeros(1), 0
while not end:
    optimizer.zero_grad()
    model(torch.randn(16, 4)).square().mean().backward()
    optimizer.step()
    step += 1
    if step == 5 and dist.get_rank() == 1:
        with torch.no_grad():
            model.module.weight[0, 0] += 1
    time.sleep(0.005)
    end = torch.ones(1) if os.path.exists("end") else torch.zeros(1)
    dist.all_reduce(end)
"""
SEEN = re.compile(r"tcrules: (error|warning|note) (\S+)")


class Running:
    """A command whose stderr is read while it runs; it is killed if the test gives up."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tcrules", *arguments],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.timer = threading.Timer(150, self.kill)
        self.told: list[str] = []

    def __enter__(self) -> Running:
        self.timer.start()
        return self

    def __exit__(self, *_fault: object) -> None:
        self.timer.cancel()
        self.kill()
        self.process.communicate()

    def kill(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def wait_for(self, text: str) -> str:
        """The first line with a text; the process runs on."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.told.append(line)
            if text in line:
                assert self.process.poll() is None
                return line
        raise AssertionError("".join(self.told))

    def end(self, how: str = "well") -> tuple[str, str]:
        """Let the training end; what was written to stdout, and to stderr from the beginning."""
        (self.folder / "end").write_text(how)
        return self.finish()

    def finish(self) -> tuple[str, str]:
        out, err = self.process.communicate(timeout=150)
        return out, "".join(self.told) + err


def start(folder: Path, source: str, *options: str, fault: int = 10**9, launcher: str = "") -> Running:
    (folder / "script.py").write_text(source)
    python = [launcher, "--nproc-per-node", "2", "--master-port", "29653"] if launcher else [sys.executable]
    return Running(folder, "run", "-o", "run", *options, "--", *python, "script.py", str(fault))


def test_a_violation_is_told_while_the_training_goes_on(tmp_path: Path):
    with start(tmp_path, ENDLESS, fault=20) as run:
        line = run.wait_for("gradients-start-empty")
        message = run.wait_for("Optimizer.zero_grad() is missing")
        assert "at step 20" in run.wait_for("at step")
        run.wait_for("next: tcrules explain run gradients-start-empty")
        out, err = run.end()
    assert run.process.returncode == 1
    assert line.startswith("tcrules: error gradients-start-empty  script.py:15")
    assert out.startswith("begins\nends\n") and "tcrules:" not in out
    assert message in out  # the same in the report
    assert "script.py:15" in out
    assert len([line for line in err.splitlines() if "is missing" in line]) == 1
    times = [int(n.replace(",", "")) for n in re.findall(r"empty: ([\d,]+) times", err)]
    assert times == sorted(times)
    divided = divide(load_rules().program)
    assert (
        f"{len(divided.live)} of {len(load_rules().program.invariants)} rules are checked with each step"
        in err
    )


def test_a_healthy_training_is_left_in_peace(tmp_path: Path):
    with start(tmp_path, ENDLESS) as run:
        run.wait_for("rules are checked with each step")
        threading.Event().wait(2)
        out, err = run.end()
    assert run.process.returncode == 0, out + err
    assert not SEEN.search(err)
    assert "CLEAN" in out


def test_without_live_checking_nothing_is_told(tmp_path: Path):
    with start(tmp_path, ENDLESS.replace("while not end", "while step < 9"), "--no-live", fault=2) as run:
        out, err = run.finish()
    assert run.process.returncode == 1
    assert "FAULTY" in out and "with each step" not in err and not SEEN.search(err)


@pytest.mark.parametrize("how", ["raise", "kill"])
def test_a_training_that_breaks_off(tmp_path: Path, how: str):
    with start(tmp_path, ENDLESS, fault=3) as run:
        run.wait_for("gradients-start-empty")
        out, err = run.end(how)
    assert run.process.returncode == {"raise": 1, "kill": 137}[how]
    assert "FAULTY" in out and "gradients-start-empty" in out
    assert "live checking has ended" not in err


def test_two_ranks(tmp_path: Path):
    torchrun = Path(sys.executable).with_name("torchrun")
    with start(tmp_path, RANKS, launcher=str(torchrun)) as run:
        assert "error" in run.wait_for("replicas-stay-equal")
        assert "at step 5, rank 1" in run.wait_for("at step")
        out, err = run.end()
    assert run.process.returncode == 1
    assert "replicas-stay-equal" in out and "rank 1" in out
    assert {rule for _, rule in SEEN.findall(err)} == {"replicas-stay-equal"}


def test_the_training_is_ended_on_request(tmp_path: Path):
    with start(tmp_path, ENDLESS, "--stop-on", "error", fault=5) as run:
        out, err = run.finish()
    assert run.process.returncode == 1
    assert "begins" in out and "ends\n" not in out
    assert "KeyboardInterrupt" in err  # as by Ctrl-C
    assert "the training was ended because gradients-start-empty is violated (--stop-on error)" in err
    assert "FAULTY" in out


def test_stopping_needs_live_checking(tmp_path: Path):
    done = tcrules("run", "--no-live", "--stop-on", "error", "--", "true", cwd=tmp_path)
    assert done.returncode == 2 and "--no-live" in done.stderr


def test_a_run_that_another_process_records_is_followed(tmp_path: Path):
    (tmp_path / "script.py").write_text(ENDLESS)
    with Running(tmp_path, "record", "-o", "run", "--", sys.executable, "script.py", "4") as recorder:
        assert recorder.process.stdout is not None
        recorder.process.stdout.readline()
        with (
            Running(tmp_path, "check", "--follow", "run") as follower,
            Running(tmp_path, "check", "--follow", "run", "--format", "json") as interrupted,
        ):
            for each in (follower, interrupted):
                each.wait_for("gradients-start-empty")
            interrupted.process.send_signal(signal.SIGINT)
            out, err = interrupted.finish()
            assert '"gradients-start-empty"' in out and "not followed any more" in err
            assert interrupted.process.returncode == 1
            recorder.end()
            out, err = follower.finish()
    assert out.startswith("FAULTY") and "live checking has ended" not in err
    assert follower.process.returncode == 1


# ---------------------------------------------------------------------------------------- live = batch

#: Has several faults. A second model comes late and makes names ambiguous.
FAULTS = """
import torch
from torch import nn

class Net(nn.Sequential):
    pass

def make():
    model = Net(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    return model, torch.optim.SGD(model.parameters(), lr=0.01)

torch.manual_seed(0)
model, optimizer = make()
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
for step in range(60):
    if step == 30:
        other, _ = make()
    if step >= 30:
        with torch.no_grad():
            other.eval()(torch.randn(2, 4))
    if step % 10 < 5:
        optimizer.zero_grad()
    model(torch.randn(16, 4)).square().mean().backward()
    if step > 50:
        model[0].weight.grad[0, 0] = float("nan")
    scheduler.step()
    optimizer.step()
"""


def recorded(folder: Path, source: str, **options: object) -> Path:
    """A run that was recorded and not sealed, as one that goes on looks."""
    run = folder / "run"
    (folder / "train.py").write_text(source)
    command = [sys.executable, "train.py"]
    create_run(run, command)
    options["relations"] = sorted(needed(load_rules().program))
    subprocess.run(command, cwd=folder, env=environment(run, options), check=True, timeout=100)
    return run


def drained(following: Following) -> Following:
    while following.read():
        pass
    return following


def compare(run: Path, selection: Selection = Selection(), program=None) -> tuple[Following, list[Sighting]]:  # noqa: B008
    """Read a run that has just ended, seal it, and compare what is said about the rules that are decided live."""
    seen: list[Sighting] = []
    following = drained(Following(run, program or load_rules().program, seen.append))
    write_manifest(run, read_manifest(run).with_(status="finished"))
    with check_run(run, selection) as checked:
        report = checked.report
    live = {rule.id for rule in following.divided.live}
    final: dict[str, int] = {}
    for violation in report.violations:
        if violation.rule in live:
            final[violation.rule] = final.get(violation.rule, 0) + violation.count
    assert {rule: count for rule, count in following.counts.items() if count} == final
    shown = {(v.rule, v.message, v.location) for v in report.violations}
    for sighting in seen:
        if sighting.first:
            violation = sighting.violation
            assert (violation.rule, violation.message, violation.location) in shown
    return following, seen


def test_live_is_batch(tmp_path: Path):
    following, seen = compare(recorded(tmp_path, FAULTS))
    assert {"gradients-start-empty", "params-stay-finite", "loss-is-finite"} <= following.counts.keys()
    firsts = [sighting.violation.rule for sighting in seen if sighting.first]
    assert len(firsts) == len(set(firsts))


def test_live_is_batch_where_steps_are_left_out(tmp_path: Path):
    often = "from tcrules.instrument.probes import governor\ngovernor.LONGEST = 8\n"
    following, seen = compare(recorded(tmp_path, often + FAULTS, warm_up=8, overhead=1e-9))
    (of_loss,) = (s for s in seen if s.first and s.violation.rule == "loss-is-finite")
    assert of_loss.step >= 52
    assert 1 < following.counts["loss-is-finite"] < 8


def test_live_is_batch_under_the_names_at_the_end(tmp_path: Path):
    """Facts are read while the run has one model; then the second one makes names ambiguous."""
    run = recorded(tmp_path, FAULTS)
    (segment,) = (run / "segments").iterdir()
    names = (segment / "names.bin").read_bytes()
    (segment / "names.bin").write_bytes(names[: names.index(b"Net#1") - 20])
    seen: list[Sighting] = []
    following = drained(Following(run, load_rules().program, seen.append))
    first = following.counts.copy()
    (segment / "names.bin").write_bytes(names)
    for followed in following._follower._followed.values():
        followed.done = False  # as if one more step had come
    following._follower._until = -1
    drained(following)
    assert following._begun == 2
    assert following.counts == first and first
    rules = [sighting.violation.rule for sighting in seen if sighting.first]
    assert len(rules) == len(set(rules))  # nothing is told twice
    compare(run)


def test_a_run_whose_names_never_settle_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = recorded(tmp_path, FAULTS)
    monkeypatch.setattr("tcrules.following.MOST_AGAIN", 0)
    with pytest.raises(Tired):
        drained(Following(run, load_rules().program, lambda _sighting: None))


def test_what_is_meant_is_not_told(tmp_path: Path):
    meant = "    optimizer.step()  # tcr: ignore[gradients-start-empty] on purpose\n"
    source = FAULTS.replace("    optimizer.step()\n", meant)
    rules = tmp_path / "project.tcr"
    rules.write_text('suppress loss-is-finite because "known"\n')
    following, seen = compare(
        recorded(tmp_path, source), Selection(rules=(rules,)), load_rules([rules]).program
    )
    assert following.counts.keys() == {"used-gradients-are-finite", "params-stay-finite"}
    assert {sighting.violation.rule for sighting in seen} == following.counts.keys()


# ---------------------------------------------------------------------------------------- the parts


def test_rules_are_divided_by_what_is_certain_while_a_run_goes_on():
    program = load_rules().program
    divided = divide(program)
    names = [{rule.id for rule in rules} for rules in (divided.live, divided.between, divided.at_end)]
    assert sum(map(len, names)) == len(program.invariants)
    assert "gradients-start-empty" in names[0]
    assert "optimizer-before-scheduler" in names[1]
    assert "late-params-reach-optimizer" in names[2]
    from tcrules.engine.verdict import doubt

    going_on = Coverage(frozenset(program.predicates), complete=False)
    assert all(doubt(rule, going_on).violated for rule in divided.at_end)


def test_other_rules_are_checked_now_and_then(tmp_path: Path):
    run = recorded(tmp_path, FAULTS)
    rules = [rule for rule in divide(load_rules().program).between if rule.id == "optimizer-before-scheduler"]
    used = Pace(ahead=100.0)
    rechecking = Rechecking(run, Selection(), rules, used)
    assert list(rechecking.look(0)) == []  # nothing new
    found: list[Violation] = []
    for _ in range(1000):
        found += rechecking.look(60)
        if found:
            break
        threading.Event().wait(0.1)
    assert {violation.rule for violation in found} == {"optimizer-before-scheduler"}
    assert found[0].location is not None and found[0].location.file.endswith("train.py")
    assert used.used() > 0.1  # of the process that checked
    assert list(rechecking.look(60)) == [] and rechecking._process is None  # no new steps
    rechecking.close()


def test_a_recheck_waits_until_it_may_be_paid(tmp_path: Path):
    (rule, *_) = divide(load_rules().program).between
    rechecking = Rechecking(tmp_path, Selection(), [rule], Pace(ahead=0.0))
    assert list(rechecking.look(100)) == [] and rechecking._process is None


def test_the_pace_keeps_its_share():
    now, cpu = [0.0], [0.0]
    pace = Pace(share=0.05, ahead=1.0, clock=lambda: now[0], cpu=lambda: cpu[0])
    assert pace.pause(more=True) == 0.0
    assert pace.pause(more=False) > 0
    cpu[0] = 1.5
    assert pace.pause(more=True) == pytest.approx(10.0)
    now[0] = 10.0
    assert pace.pause(more=True) == 0.0
    pace.charge(0.5)
    assert pace.pause(more=True) == pytest.approx(10.0)


class Told:
    """Stands for a command; takes signals."""

    def __init__(self) -> None:
        self.signals: list[int] = []

    def signal(self, number: int) -> None:
        self.signals.append(number)


def test_a_training_that_ignores_ctrl_c_is_told_again(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(live_module, "GRACE_S", 0.01)
    told, over = Told(), threading.Event()

    def follow(_done: object, stop) -> None:
        stop()
        over.set()

    with beside(SimpleNamespace(follow=follow, stopped_by="some-rule"), told):
        assert over.wait(10)
    assert told.signals == [signal.SIGINT, signal.SIGTERM]
    assert "some-rule is violated" in capsys.readouterr().err


def terminal(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """What a terminal is given."""
    written = StringIO()
    console = Console(file=written, force_terminal=True, width=80, highlight=False)
    monkeypatch.setattr(live_module, "error_console", lambda: console)
    return written


def test_a_terminal_shows_how_far_a_run_is_that_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written = terminal(monkeypatch)
    live = Live(tmp_path, Selection(), load_rules().program)
    with live.status_line():
        live.steps(1, 0)
        threading.Event().wait(0.6)
        live.steps(20, 2)
        threading.Event().wait(0.6)
        live._say("told")
    assert "1 step · no violation" in written.getvalue()
    assert "20 steps · 2 rules violated" in written.getvalue()
    assert "told\n" in written.getvalue() and "\n\n" not in written.getvalue()


def test_a_terminal_that_the_training_shares_has_whole_lines_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    written = terminal(monkeypatch)
    Live(tmp_path, Selection(), load_rules().program)._say("told")
    assert written.getvalue() == "\ntold\n"  # the training may be in the middle of a line


def test_only_severities_that_were_asked_for_end_a_training(tmp_path: Path):
    def stops(asked: str, severity: str) -> bool:
        live = Live(tmp_path, Selection(), load_rules().program, asked)
        live._tell(Sighting(Violation("", "r", severity, 1, 1, 1, (0,), (), "m", None, 0), 1, 1, True))
        return bool(live.stopped_by)

    found = {(a, s): stops(a, s) for a in ("", "error", "warning") for s in ("error", "warning", "note")}
    assert [pair for pair, stopped in found.items() if stopped] == [
        ("error", "error"), ("warning", "error"), ("warning", "warning"),
    ]  # fmt: skip


def test_a_fault_of_live_checking_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    def broken(*_arguments: object) -> None:
        raise ValueError("on purpose")

    run = recorded(tmp_path, FAULTS)
    monkeypatch.setattr("tcrules.following.Following", broken)
    Live(run, Selection(), load_rules().program).follow(threading.Event())
    (line,) = capsys.readouterr().err.splitlines()
    assert "live checking has ended (ValueError: on purpose)" in line


def test_following_loads_neither_torch_nor_duckdb():
    source = (
        "import sys, tcrules.cli.live, tcrules.following, tcrules.rechecking\n"
        "assert not {'torch', 'duckdb'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", source], check=True)

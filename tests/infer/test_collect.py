"""Runs to statistics: what is read, what is kept, many at a time, interruption, own templates and their bounds."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from tcrules.engine import recorded
from tcrules.engine.duckdb_store import Settings
from tcrules.instrument.runs import RunFolder
from tcrules.rules.infer import InferError, Options
from tcrules.rules.infer import infer as whole
from tcrules.rules.infer import reading as reading_module
from tcrules.rules.infer.cache import CACHE
from tcrules.rules.infer.collect import Interrupted, Means, collect
from tcrules.rules.infer.templates import load_templates, shipped_templates, template_files
from tcrules.rules.infer.workers import WorkerLost, each

MakeRun: TypeAlias = Callable[..., Path]

#: How runs are read is tried here; trying the rules on injected faults would take most of the time.
infer = partial(whole, options=Options(without=frozenset({"mutation"})))

OWNED = """
/// {?P} belongs to an optimizer.
template owned(?P: param) @warning @tags(default, once) {
    each parameter(param: P), P = ?P expect member(param: P) about P message "{P} belongs to no optimizer"
}
"""
TYPED = """
/// {?P} has elements of type {?D}.
template typed(?P: param, ?D: string) @warning @tags(default, once) {
    each parameter(param: P, dtype: D), P = ?P expect D = ?D about P message "{P} has type {D}, not {?D}"
}
"""
#: All pairs of facts about gradients, which have nothing to do with each other.
PAIRS = """
/// Too much.
template pairs(?P: param, ?Q: param) @warning @tags(default) {
    each accumulate(call: A, param: P, step: S), accumulate(call: B, param: Q), P = ?P, Q = ?Q
    expect A != B message "{S} {P} {Q}"
}
"""


@pytest.fixture
def write_template(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write


@pytest.fixture
def runs(make_run: MakeRun) -> list[Path]:
    return [make_run(f"own{seed}", seed=seed) for seed in (1, 2, 3)]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """Which template was counted in which run."""
    seen: list[tuple[str, str]] = []
    opened: list[str] = []
    really, count = recorded.open_store, reading_module.count

    def open_store(facts: Path, *rest: Any) -> Any:
        opened.append(facts.parent.name)
        return really(facts, *rest)

    def counting(template: Any, *rest: Any) -> Any:
        seen.append((opened[-1], template.invariant.id))
        return count(template, *rest)

    monkeypatch.setattr(recorded, "open_store", open_store)
    monkeypatch.setattr(reading_module, "count", counting)
    yield seen


# ------------------------------------------------------------------------------------------------ what is read


def test_one_more_run_reads_that_run_only(
    runs: list[Path], write_template: Callable[..., Path], counted: list[tuple[str, str]]
) -> None:
    templates = [write_template("own.tcr", OWNED)]
    infer(runs[:2], templates=templates)
    assert counted == [("own1", "owned"), ("own2", "owned")]
    counted.clear()
    infer(runs, templates=templates)
    assert counted == [("own3", "owned")]
    counted.clear()
    infer(runs, templates=templates)
    assert counted == []


def test_one_more_template_counts_that_template_only(
    runs: list[Path], write_template: Callable[..., Path], counted: list[tuple[str, str]]
) -> None:
    first = write_template("own.tcr", OWNED)
    infer(runs[:1], templates=[first])
    counted.clear()
    helper = "pair(P) :- parameter(param: P), member(param: P).\n"
    infer(runs[:1], templates=[first, write_template("more.tcr", helper + TYPED)])
    assert counted == [("own1", "typed")]


def test_what_a_template_reads_is_part_of_its_meaning(
    runs: list[Path], write_template: Callable[..., Path], counted: list[tuple[str, str]]
) -> None:
    text = OWNED.replace("parameter(param: P), P", "mine(P), P")
    infer(runs[:1], templates=[write_template("a.tcr", "mine(P) :- parameter(param: P).\n" + text)])
    counted.clear()
    other = "mine(P) :- parameter(param: P, trainable: true).\n" + text
    infer(runs[:1], templates=[write_template("b.tcr", other)])
    infer(runs[:1], templates=[write_template("c.tcr", other.replace("belongs to an", "belongs to some"))])
    assert counted == [("own1", "owned")], "documentation is no part of it"


def test_runs_are_read_in_several_processes_with_the_same_result(make_run: MakeRun) -> None:
    runs = [make_run(f"r{seed}", seed=seed, frozen=["Net.h.0.bias"]) for seed in (1, 2, 3, 4)]
    alone = infer(runs).text
    for run in runs:
        (run / CACHE).unlink()
    ticks: list[tuple[int, int]] = []
    together = infer(runs, lambda *parts: ticks.append(parts), jobs=3).text
    assert together == alone
    assert ticks[-1][0] == ticks[-1][1] == len(ticks) == 4 * (len(load_templates().shapes) + 1)
    assert all((run / CACHE).exists() for run in runs)


def test_a_fault_in_a_worker_is_told_here_and_the_others_are_kept(runs: list[Path]) -> None:
    (runs[1] / "facts" / "optimizer_step.parquet").write_bytes(b"PAR1 this is no parquet file PAR1")
    with pytest.raises(Exception, match=r"(?i)parquet|magic|footer|damaged"):
        infer(runs, jobs=2)
    assert not list(runs[0].glob(".*")), "nothing half-written"


# ------------------------------------------------------------------------------------------------ the cache


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "null",
        lambda text: text.replace('"format":2', '"format":1'),
        lambda text: text.replace('"triggers":[[', '"triggers":[["x",[[', 1),
        lambda text: text.replace('"triggers":[[[', '"triggers":[[[null,', 1),
        lambda text: text.replace('"about":{', '"about":{"project":3},"was":{'),
        lambda text: "[" * 100_000,
    ],
)
def test_a_cache_that_is_not_as_it_should_be_is_none(
    runs: list[Path], write_template: Callable[..., Path], change: Callable[[str], str],
    counted: list[tuple[str, str]],
) -> None:  # fmt: skip
    templates = [write_template("own.tcr", OWNED)]
    text = infer(runs, templates=templates).text
    kept = (runs[0] / CACHE).read_text()
    (runs[0] / CACHE).write_text(change(kept))
    counted.clear()
    assert infer(runs, templates=templates).text == text
    assert counted == [("own1", "owned")]
    assert (runs[0] / CACHE).read_text() == kept, "it is mended"


def test_a_run_that_was_recorded_anew_is_read_anew(
    runs: list[Path], write_template: Callable[..., Path], counted: list[tuple[str, str]]
) -> None:
    templates = [write_template("own.tcr", OWNED)]
    infer(runs[:1], templates=templates)
    manifest = json.loads((runs[0] / "run.json").read_text())
    (runs[0] / "run.json").write_text(json.dumps({**manifest, "started": manifest["started"] + 60}))
    counted.clear()
    infer(runs[:1], templates=templates)
    assert counted == [("own1", "owned")]


# ------------------------------------------------------------------------------------------------ interruption


class Stop:
    """Progress that interrupts after some parts."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, _done: int, _total: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_what_was_counted_before_an_interruption_is_kept(
    runs: list[Path], counted: list[tuple[str, str]]
) -> None:
    shapes = len(load_templates().shapes)
    with pytest.raises(Interrupted, match="1 of 3 runs are read"):
        infer(runs, Stop(after=shapes + 1 + 20))
    before = list(counted)
    assert 0 < len({run for run, _ in before}) <= 2
    text = infer(runs).text
    assert len(counted) == len(set(counted)), "nothing is counted twice"
    for run in runs:
        (run / CACHE).unlink()
    assert infer(runs).text == text


def test_workers_are_ended_and_keep_what_they_have_done(runs: list[Path]) -> None:
    with pytest.raises(Interrupted):
        infer(runs, Stop(after=15), jobs=2)
    kept = [json.loads((run / CACHE).read_text()) for run in runs if (run / CACHE).exists()]
    assert any(one["templates"] for one in kept)
    assert not [path for run in runs for path in run.glob(f".{CACHE}*")]
    assert infer(runs, jobs=2).rules > 10


def _slow(number: int, tick: Callable[[], None]) -> int:
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    tick()
    time.sleep(0.01)
    return number * number


def test_workers_give_each_item_its_result() -> None:
    ticks: list[None] = []
    found = dict(each(_slow, list(range(9)), 3, lambda: ticks.append(None)))
    assert found == {number: number * number for number in range(9)}
    assert len(ticks) == 9


def test_a_worker_that_the_system_ends_is_told() -> None:
    with pytest.raises(WorkerLost) as lost:
        list(each(_slow, [1, -2, 3], 2, lambda: None))
    assert lost.value.item == -2
    assert lost.value.code == -signal.SIGKILL


# ------------------------------------------------------------------------------------------------ own templates


def test_own_templates_beside_the_shipped_ones(runs: list[Path], write_template: Callable[..., Path]) -> None:
    write_template("more/typed.tcr", TYPED)
    folder = write_template("more/deep/owned.tcr", OWNED).parent.parent
    files = template_files([folder])
    assert files[: len(shipped_templates())] == shipped_templates()
    text = infer(runs, templates=files).text
    assert "invariant learned-owned" in text and "invariant learned-typed" in text
    assert "invariant learned-param-moves" in text
    alone = infer(runs, templates=template_files([folder], shipped=False)).text
    assert "invariant learned-owned" in alone and "param-moves" not in alone


def test_own_templates_may_import_what_the_shipped_ones_share(
    runs: list[Path], write_template: Callable[..., Path]
) -> None:
    text = (
        'import "prelude.tcr"\n'
        + """
/// Steps of {?O} are useful.
template useful(?O: optimizer) @warning @tags(default) {
    each optimizer_step(rank: R, call: C, optimizer: O, step: S), O = ?O
    expect useful_step(rank: R, call: C) about O message "{S} {O}"
}
"""
    )
    learned = infer(runs, templates=[write_template("own/useful.tcr", text)]).text
    assert "invariant learned-useful" in learned and "useful_step(" in learned


def test_template_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InferError, match=r"there is no template file '.*none\.tcr'"):
        template_files([tmp_path / "none.tcr"])
    with pytest.raises(InferError, match="has no template file"):
        template_files([tmp_path])
    with pytest.raises(InferError, match="no templates to learn from"):
        template_files([], shipped=False)


def test_a_template_with_too_many_bindings_is_named_and_the_others_are_learned(
    runs: list[Path], write_template: Callable[..., Path]
) -> None:
    means = Means(bindings=10)
    templates = [write_template("pairs.tcr", PAIRS), write_template("own.tcr", OWNED)]
    learned = infer(runs, templates=templates, means=means)
    named = [warning for warning in learned.warnings if "template pairs" in warning]
    assert len(named) == 1
    assert f"more than {means.bindings} bindings" in named[0] and "--most-bindings" in named[0]
    assert "learned-pairs" not in learned.text
    assert "learned-owned" in learned.text
    with pytest.raises(InferError, match=r"no rule holds(?s:.*)template owned: more than 3 bindings"):
        infer(runs, templates=templates, means=Means(bindings=3))


def test_the_bound_may_be_raised_and_lowered_when_statistics_are_kept(
    runs: list[Path], write_template: Callable[..., Path], counted: list[tuple[str, str]]
) -> None:
    templates = [write_template("both.tcr", PAIRS + OWNED)]
    few, many = Means(bindings=10), Means(bindings=1000)
    assert "learned-pairs" not in infer(runs[:1], templates=templates, means=few).text
    counted.clear()
    infer(runs[:1], templates=templates, means=few)
    assert counted == [], "that it has too many is kept"
    shown = infer(runs[:1], templates=templates, means=many)
    assert counted == [("own1", "pairs")]
    assert not any("template pairs" in warning for warning in shown.warnings)
    lowered = infer(runs[:1], templates=templates, means=few)
    assert any("template pairs" in warning for warning in lowered.warnings)


def test_a_join_without_end_is_given_up(
    runs: list[Path], write_template: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_module, "_LEAST_INSTANCES", 100)
    monkeypatch.setattr(reading_module, "_MOST_PER_FACT", 1)
    for most in (0, reading_module.MOST_IN_MEMORY):
        monkeypatch.setattr(reading_module, "MOST_IN_MEMORY", most)
        learned = infer(runs, templates=[write_template("both.tcr", PAIRS + OWNED)])
        assert "learned-owned" in learned.text
        assert any("template pairs" in warning for warning in learned.warnings)
        for run in runs:
            (run / CACHE).unlink()


# ------------------------------------------------------------------------------------------------ missing facts


def test_steps_that_were_not_recorded_cost_their_instances_only(make_run: MakeRun) -> None:
    """A run that is sampled from some step on still teaches what its recorded steps say."""
    runs = [make_run(f"r{seed}", seed=seed, steps=12) for seed in (1, 2, 3)]
    whole = collect(runs, load_templates())
    gap = {"rank": 0, "relation": "gradient", "first_step": 6, "last_step": -1, "why": "sampled"}
    import duckdb

    for run in runs:
        (run / CACHE).unlink()
        file = run / "facts" / "instrument_gap.parquet"
        with duckdb.connect() as connection:
            connection.execute(f"CREATE TABLE gaps AS SELECT * FROM '{file}'")
            names = ["fact", *gap]
            marks = ", ".join("?" * len(names))
            connection.execute(
                f"INSERT INTO gaps ({', '.join(names)}) VALUES ({marks})", [999_999, *gap.values()]
            )
            connection.execute(f"COPY gaps TO '{file}'")
    sampled = collect(runs, load_templates())

    def instances(found: Any) -> int:
        return sum(sum(run.counts["param-moves"].triggers.values()) for run in found.runs)

    assert 0 < instances(sampled) < instances(whole)


# ------------------------------------------------------------------------------------------------ health


class Verdict:
    """A check that finds fault with some runs."""

    key = "v1"

    def __init__(self, *bad: str) -> None:
        self.bad = bad
        self.asked: list[str] = []

    def __call__(self, folder: RunFolder, _settings: Settings) -> tuple[str, ...]:
        self.asked.append(folder.path.name)
        return ("some-rule",) if folder.path.name in self.bad else ()


def test_an_unhealthy_run_is_named_and_left_out(runs: list[Path]) -> None:
    learned = infer(runs, means=Means(health=Verdict("own2")))
    assert any("own2 is not healthy: it violates some-rule" in warning for warning in learned.warnings)
    assert "own2" not in learned.text.split("\n\n")[0]
    kept = infer(runs, means=Means(health=Verdict("own2"), keep_unhealthy=True))
    assert "own2" in kept.text.split("\n\n")[0]
    assert any("learned from all the same" in warning for warning in kept.warnings)


def test_that_a_run_is_healthy_is_kept(runs: list[Path]) -> None:
    first = Verdict("own2")
    infer(runs, means=Means(health=first))
    assert sorted(first.asked) == ["own1", "own2", "own3"]
    again = Verdict("own2")
    infer(runs, means=Means(health=again))
    assert again.asked == ["own2"], "what is suppressed may have changed"
    other = Verdict()
    other.key = "v2"
    infer(runs, means=Means(health=other))
    assert len(other.asked) == 3


def test_no_healthy_run(runs: list[Path]) -> None:
    with pytest.raises(InferError, match="none of the runs is healthy: own1 violates some-rule"):
        infer(runs, means=Means(health=Verdict("own1", "own2", "own3")))

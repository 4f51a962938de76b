"""From run folders to a rule file: what is learned, that it holds, that it is stable, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tcrules.engine.check import check
from tcrules.engine.duckdb_store import DuckDBStore
from tcrules.engine.ir import Program
from tcrules.grammar import parse, print_program
from tcrules.grammar.diagnostics import TcrError
from tcrules.instrument.errors import RunError
from tcrules.instrument.runs import open_run
from tcrules.instrument.schema import UNLEARNABLE
from tcrules.rules.infer import InferError, infer
from tcrules.rules.infer.collect import CACHE, count
from tcrules.rules.infer.learn import learn
from tcrules.rules.infer.model import Run
from tcrules.rules.infer.templates import load_templates, shipped_templates
from tcrules.rules.infer.write import write

from .helping import ALL, SMALL, Facts, memory_facts, program_of

MakeRun: TypeAlias = Callable[..., Path]
SEEDS = (11, 12, 13)


def violated(text: str, run: Path) -> set[str]:
    """Ids of the rules of a file that a run violates."""
    program = program_of(text)
    with DuckDBStore.open(open_run(run).facts, program) as store:
        verdicts = check(program, store, ALL).verdicts
    return {verdict.rule for verdict in verdicts if verdict.status == "violated"}


def ids(text: str) -> list[str]:
    return [invariant.id for invariant in program_of(text).invariants]


# ------------------------------------------------------------------------------------------------ what is learned


def test_a_planted_guard_is_learned(make_run: MakeRun) -> None:
    given = {"ranks": 2, "split": ["Net.h.0.weight"]}
    text = infer([make_run(f"r{seed}", seed=seed, **given) for seed in SEEDS]).text
    assert "learned-params-equal-net-split-false" in ids(text)
    assert "split: false" in text and "Only where Split = false." in text
    drifted = make_run("drifted", seed=1, ranks=2, split=["Net.h.0.weight", "Net.h.1.bias"])
    assert "learned-params-equal-net-split-false" not in violated(
        text, drifted
    )  # it declares the tensor split
    facts = open_run(drifted).facts / "parameter.parquet"
    assert facts.exists()


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        ({"stuck": ["Net.h.1.bias"]}, "learned-step-changes-param-sgd-0-all"),
        ({"stuck": ["Net.h.1.bias"]}, "learned-param-moves-all"),
        ({"frozen": ["Net.h.1.bias"]}, "learned-param-is-trainable-all-true"),
        ({"window": 2}, "learned-window-size-sgd-0-1"),
        ({"window": 2}, "learned-backward-finds-clean-sgd-0"),
    ],
)
def test_learned_rules_find_a_fault_and_are_silent_on_a_healthy_run(
    make_run: MakeRun, reference: list[Path], fault: dict[str, Any], rule: str
) -> None:
    text = infer(reference).text
    assert violated(text, make_run("healthy", seed=99)) == set()
    assert rule in violated(text, make_run("faulty", seed=99, **fault))


def test_every_learned_rule_holds_on_its_runs(reference: list[Path]) -> None:
    inferred = infer(reference)
    assert inferred.rules == len(ids(inferred.text)) > 10
    for run in reference:
        assert violated(inferred.text, run) == set()


def test_no_shipped_template_learns_over_moments_or_bit_patterns() -> None:
    for shape in load_templates().shapes.values():
        for name, kind in (*shape.bound, *shape.free, *shape.guard):
            assert kind not in UNLEARNABLE, (shape.id, name)


def test_templates_over_fingerprints_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "bad.tcr"
    file.write_text('template t(?D: fingerprint) { each param_state(data: ?D) expect true message "m" }')
    with pytest.raises(TcrError, match="no rule can be learned"):
        load_templates([file])


def test_shipped_templates_have_no_faults() -> None:
    assert len(shipped_templates()) > 5
    for path in shipped_templates():
        parsed = parse(path.read_text(), str(path))
        assert parsed.program is not None and not parsed.diagnostics
    assert len(load_templates().shapes) > 40


# ------------------------------------------------------------------------------------------------ the text


def test_the_text_does_not_depend_on_the_order_of_the_runs(reference: list[Path]) -> None:
    assert infer(reference).text == infer(list(reversed(reference))).text


def test_the_text_is_canonical_and_documents_itself(reference: list[Path]) -> None:
    text = infer(reference).text
    parsed = parse(text, "learned.tcr")
    assert parsed.program is not None and print_program(parsed.program) == text
    assert " that held in 3 healthy runs: r11, r12, r13.\n" in text
    assert text.count("/// why: it held for all") == len(ids(text))
    assert "?" not in text.replace("}?", "")


def test_ids_are_unique(reference: list[Path]) -> None:
    found = ids(infer(reference).text)
    assert len(found) == len(set(found))


# ------------------------------------------------------------------------------------------------ adding runs


@pytest.fixture
def few() -> list[Path]:
    """A few templates, to be quick."""
    return [SMALL]


@pytest.fixture
def own(make_run: MakeRun) -> list[Path]:
    return [make_run(f"own{seed}", seed=seed) for seed in (1, 2)]


def test_a_run_is_read_once(own: list[Path], few: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first = infer(own, templates=few)
    assert all((run / CACHE).exists() for run in own)
    monkeypatch.setattr("tcrules.engine.recorded.open_store", None)
    assert infer(own, templates=few).text == first.text


def test_other_templates_are_counted_when_they_are_asked_for(
    own: list[Path], few: list[Path], tmp_path: Path
) -> None:
    infer(own, templates=few)
    other = tmp_path / "other.tcr"
    renamed = SMALL.read_text().replace("template value", "template renamed")
    other.write_text(renamed.replace("several", "counted"))
    assert "learned-renamed-all-true" in ids(infer(own, templates=[other]).text)
    assert "learned-value-all-true" in ids(infer(own, templates=few).text)


def test_adding_a_run_is_the_same_as_learning_from_all_at_once(
    make_run: MakeRun, own: list[Path], few: list[Path]
) -> None:
    more = make_run("more", seed=14, frozen=["Net.h.0.bias"])
    assert "learned-value-all-true" in ids(infer(own, templates=few).text)
    added = infer([*own, more], templates=few).text
    for run in (*own, more):
        (run / CACHE).unlink()
    assert infer([*own, more], templates=few).text == added
    assert "learned-value-all-true" not in ids(added)


def test_a_run_that_cannot_be_written_is_only_read(
    own: list[Path], few: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr("os.replace", refuse)
    assert infer(own, templates=few).rules > 0
    assert not list(own[0].glob(f"*{CACHE}*"))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run": [], "templates": {}}', '{"run": 1}'])
def test_a_damaged_cache_is_ignored(own: list[Path], few: list[Path], content: str) -> None:
    text = infer(own, templates=few).text
    (own[0] / CACHE).write_text(content)
    assert infer(own, templates=few).text == text


def test_the_cache_of_an_earlier_recording_is_ignored(
    make_run: MakeRun, own: list[Path], few: list[Path]
) -> None:
    infer(own, templates=few)
    other = make_run("other", seed=5, params=["Net.x"])
    (other / CACHE).write_text((own[0] / CACHE).read_text())
    assert "Net.h." not in infer([other], templates=few).text


# ------------------------------------------------------------------------------------------------ bad input


def test_no_runs() -> None:
    with pytest.raises(InferError, match="no runs"):
        infer([])


def test_a_folder_that_is_no_run(tmp_path: Path, reference: list[Path]) -> None:
    with pytest.raises(RunError, match="there is no run"):
        infer([*reference, tmp_path / "missing"])


def test_a_run_that_never_trains(write_facts: Callable[..., Path], reference: list[Path]) -> None:
    idle = write_facts("idle", {"forward": [{"module": "Net", "grad": False}]})
    with pytest.raises(InferError, match="does not train: idle"):
        infer([*reference, idle])


def test_runs_in_which_nothing_is_common(make_run: MakeRun, tmp_path: Path) -> None:
    file = tmp_path / "own.tcr"
    file.write_text(
        "template owned(?P: param) @tags(default, once) { each parameter(param: P), P = ?P expect member(param: P) "
        'about P message "{P}" }'
    )
    runs = [make_run(f"r{n}", seed=n, params=[f"Net.p{n}"]) for n in (1, 2, 3)]
    with pytest.raises(InferError, match="no rule holds in all of the 3 runs"):
        infer(runs, templates=[file])


def test_few_runs_and_equal_commands_are_remarked(make_run: MakeRun, few: list[Path]) -> None:
    two = [make_run(f"r{seed}", seed=seed) for seed in (1, 2)]
    assert "fewer than 3" in infer(two, templates=few).warnings[0]
    same = [make_run(f"s{seed}", seed=seed, command="python train.py") for seed in (1, 2, 3)]
    assert "they have one command" in infer(same, templates=few).warnings[0]
    cut = make_run("cut", seed=9, status="killed")
    assert any(
        "cut did not come to its end" in warning for warning in infer([*two, cut], templates=few).warnings
    )


def test_a_run_given_twice_counts_once(reference: list[Path]) -> None:
    found = infer([reference[0], reference[0], reference[0]]).warnings
    assert "it counts once" in found[0] and "fewer than 3" in found[1]


def test_progress_is_told(own: list[Path], few: list[Path]) -> None:
    seen: list[tuple[int, int]] = []
    infer(own, lambda done, total: seen.append((done, total)), templates=few)
    parts = 2 * (len(load_templates(few).shapes) + 1)
    assert seen == [(done, parts) for done in range(1, parts + 1)]
    seen.clear()
    infer(own, lambda done, total: seen.append((done, total)), templates=few)
    assert seen == []


# ------------------------------------------------------------------------------------------------ random facts

params = st.sampled_from(["N.a.w", "N.a.b", "N.0.w", "N.1.w"])
parameter = st.fixed_dictionaries(
    {"param": params, "root": st.sampled_from(["N", "M"]), "class": st.sampled_from(["L", "B", "D"]),
     "trainable": st.booleans(), "owners": st.integers(1, 3), "split": st.booleans()}
)  # fmt: skip
member = st.fixed_dictionaries({"param": params, "optimizer": st.sampled_from(["A#0", "B#0"])})
tie = st.fixed_dictionaries({"root": st.sampled_from(["N", "M"])})
random_run = st.fixed_dictionaries(
    {
        "parameter": st.lists(parameter, max_size=8),
        "member": st.lists(member, max_size=4),
        "tie": st.lists(tie, max_size=1),
    }
)


def in_memory(facts: Facts, program: Program) -> DuckDBStore:
    return DuckDBStore.from_memory(memory_facts(facts), program)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(random_run, min_size=1, max_size=4), split=st.booleans())
def test_whatever_is_learned_from_random_facts_holds_on_them(
    runs: list[dict[str, list[dict[str, Any]]]], split: bool
) -> None:
    templates = load_templates([SMALL])
    read = []
    for place, facts in enumerate(runs):
        with in_memory(facts, templates.program) as store:
            counts = {t.invariant.id: count(t, store) for t in templates.program.templates}
        read.append(Run(f"r{place}", f"p{place % 2}" if split else "p", counts))
    rules = learn(read, templates.shapes).rules
    if not rules:
        return
    text = write(rules, templates, read)
    assert text == write(learn(read[::-1], templates.shapes).rules, templates, read[::-1])
    program = program_of(text)
    for facts in runs:
        with in_memory(facts, program) as store:
            verdicts = check(program, store, ALL).verdicts
        assert [v for v in verdicts if v.violated] == [], text

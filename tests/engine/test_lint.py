"""`lint`: its wording in `lint_golden/*.tcr` beside `*.err`, and that what it says of random programs is true.

`TCRULES_UPDATE_GOLDEN=1 pytest tests/engine/test_lint.py` writes the expected files anew.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tcrules.engine import naive
from tcrules.engine.analyse import Source, analyse, load, load_text
from tcrules.engine.analyse.lint import lint
from tcrules.engine.analyse.lint.conflicts import always, conflict
from tcrules.engine.analyse.lint.same import rule_form
from tcrules.engine.ir import Compare, Rule
from tcrules.grammar import CODES, Diagnostic, render
from tcrules.rules.catalogue import LIBRARY, shipped_file
from tcrules.rules.loading import load_rules

from tcrules.linting import lint_files

# With --import-mode=importlib a test folder is not importable by name.
for _name in ("helping", "strategies"):
    _spec = importlib.util.spec_from_file_location(f"engine_{_name}", Path(__file__).with_name(f"{_name}.py"))
    assert _spec and _spec.loader
    sys.modules[f"engine_{_name}"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[f"engine_{_name}"])
helping, random_programs = sys.modules["engine_helping"], sys.modules["engine_strategies"]

GOLDEN = Path(__file__).with_name("lint_golden")
CASES = sorted(GOLDEN.glob("*.tcr"))
SHIPPED = [LIBRARY, LIBRARY.parent / "templates"]
EXAMPLES = sorted(Path(__file__).parents[2].glob("examples/*/*.tcr"))


def find(path: str, _importer: str | None) -> Source | None:
    file = GOLDEN / path
    file = file if file.is_file() else shipped_file(path)
    return Source(path, file.read_text(encoding="utf-8")) if file is not None else None


def findings(path: Path) -> tuple[tuple[Diagnostic, ...], dict[str, str]]:
    loaded = load([path.name], find)
    program = analyse(loaded.programs).program
    assert program is not None, render(analyse(loaded.programs).diagnostics, loaded.sources)
    return lint(loaded, program, {path.name}, load_rules().program), dict(loaded.sources)


def found_in(text: str) -> list[str]:
    loaded = load_text(text, "x.tcr")
    program = analyse(loaded.programs).program
    assert program is not None
    return [finding.code for finding in lint(loaded, program)]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_messages(path: Path) -> None:
    found = render(*findings(path))
    expected = path.with_suffix(".err")
    if os.environ.get("TCRULES_UPDATE_GOLDEN"):
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")


def test_every_code_has_a_case() -> None:
    seen = {finding.code for path in CASES for finding in findings(path)[0]}
    assert {code for code in CODES if code.startswith("TCR5")} == seen


def test_findings_say_how_to_mend() -> None:
    assert all(finding.help for path in CASES for finding in findings(path)[0])


@pytest.mark.parametrize("path", [*SHIPPED, *EXAMPLES], ids=lambda path: path.stem)
def test_shipped_files_are_clean(path: Path) -> None:
    found, sources = lint_files(sorted(path.glob("*.tcr")) if path.is_dir() else [path])
    assert not found, render(found, sources)


def test_a_large_learned_file() -> None:
    text = "".join(
        f'invariant learned-{n} {{\n    each    call(call: C, api: "f{n}", step: S), S > {n % 7}\n'
        f'    expect  call(parent: C, api: "g{n}")\n    message "step {{S}}: {{C}}"\n}}\n'
        for n in range(10_000)
    )
    loaded = load_text(text, "x.tcr")
    program = analyse(loaded.programs).program
    assert program is not None
    began = time.process_time()
    assert lint(loaded, program) == ()
    assert time.process_time() - began < 10


def test_rules_alone_are_all_results() -> None:
    assert found_in("relation edge(a: int, b: int)\np(X) :- edge(X, _).") == []
    assert found_in("p(X) :- step(begin: X).\nq(X) :- step(begin: X).") == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("p(X) :- q(X, Y), not r(Y).", "p(X) :- q(X, _), not r(Y)."),
        ("p(X) :- q(X, _), not q(_, X).", "p(X) :- q(X, _), not q(X, _)."),
        ("p(X) :- q(X, Y), q(Y, X).", "p(X) :- q(X, Y), q(X, Y)."),
        ("p(1) :- q(1, 1).", "p(1) :- q(1, 2)."),
        ("p(X) :- q(X, Y), Y > X.", "p(X) :- q(X, Y), Y < X."),
        ("p(N) :- N = count { q(X, Y) }.", "p(N) :- N = count(X) { q(X, Y) }."),
        ("p(N) :- r(X), N = count { q(X, Y) }.", "p(N) :- r(_), N = count { q(X, Y) }."),
        ("p(X) :- q(X, Y), { Y = 1 or r(Y) }.", "p(X) :- q(X, Y), { Y = 1 or r(X) }."),
    ],
)
def test_rules_that_differ(one: str, other: str) -> None:
    head = "relation q(a: int, b: int)\nrelation r(a: int)\n"
    first, second = (helping.program_of(head + text).strata for text in (one, other))
    assert [*map(rule_form, rules(first))] != [*map(rule_form, rules(second))]


def rules(strata: tuple) -> list[Rule]:
    return [rule for stratum in strata for rule in stratum.rules]


# ------------------------------------------------------------------------------------------------ truth


@helping.examples(100)
@given(random_programs.cases())
def test_what_is_said_of_random_programs(case: object) -> None:
    loaded = load_text(case.text, "random.tcr")  # type: ignore[attr-defined]
    program = analyse(loaded.programs).program
    assert program is not None
    dead = {finding.labels[0].span.line for finding in lint(loaded, program) if finding.code == "TCR501"}
    if not dead:
        return
    model = naive.evaluate(program, case.facts)  # type: ignore[attr-defined]
    for rule in rules(program.strata):
        if rule.span.line in dead:
            assert next(naive.solve(rule.body, model), None) is None, case.text  # type: ignore[attr-defined]
    for invariant in program.invariants:
        last = invariant.span.line + 4  # a random invariant has five lines and more
        if any(invariant.span.line < line <= last for line in dead):
            assert all(instance.held for instance in naive.instances(invariant, model))


_SIDES = {
    "int": ["X", "Y", "Z", "0", "1", "2", "X + 1"],
    "float": ["F", "G", "0.0", "-0.0", "1.5", "nan", "inf", "-inf", "F / G"],
}
_FACTS = {
    "int": [*product([-1, 0, 1, 2, 3], repeat=2)],
    "float": [*product([float("-inf"), -2.0, 0.0, 1.5, 1.75, float("inf"), float("nan")], repeat=2)],
}
_VARIABLES = {"int": ("X", "Y", "Z = Y"), "float": ("F", "G", "F = F")}


@st.composite
def _comparisons(draw: st.DrawFn) -> tuple[str, str]:
    kind = draw(st.sampled_from(sorted(_SIDES)))
    side, op = st.sampled_from(_SIDES[kind]), st.sampled_from(["<", "<=", ">", ">=", "=", "!="])
    said = draw(st.lists(st.tuples(side, op, side), min_size=1, max_size=4))
    negated = draw(st.lists(st.tuples(side, op, side), max_size=2))
    first, second, more = _VARIABLES[kind]
    body = [f"pair({first}, {second})", more, *map(" ".join, said)]
    if negated:
        body.append(f"not {{ {', '.join(map(' '.join, negated))} }}")
    text = f"relation pair(a: {kind}, b: {kind})\nrelation p(a: {kind})\np({first}) :- {', '.join(body)}.\n"
    return kind, text


@helping.examples(300)
@given(_comparisons())
def test_what_is_said_of_comparisons(drawn: tuple[str, str]) -> None:
    """Over facts with every pair of values: what cannot hold does not hold, what is always true is."""
    kind, text = drawn
    program = helping.program_of(text)
    model = naive.evaluate(program, helping.facts_of(pair=_FACTS[kind]))
    (rule,) = rules(program.strata)
    if conflict(rule.body, frozenset(), lambda _: ()) is not None:
        assert next(naive.solve(rule.body, model), None) is None, text
    for place, literal in enumerate(rule.body):
        if isinstance(literal, Compare) and always(literal):
            before = [solution.binding for solution in naive.solve(rule.body[:place], model)]
            after = [solution.binding for solution in naive.solve(rule.body[: place + 1], model)]
            assert before == after, text


@pytest.mark.parametrize(
    "body",
    [
        "X < X",
        "X > 1, X < 2",
        "X = 1, X = 2",
        "X < Y, Y < X",
        "X = Y, X != Y",
        "2 < 1",
        "X > 2, not { X > 1 }",
    ],
)
def test_contradictions_of_comparisons_are_seen(body: str) -> None:
    """The tests above would pass for a `conflict` that sees nothing."""
    head = "relation pair(a: int, b: int)\nrelation p(a: int)\n"
    assert found_in(f"{head}p(X) :- pair(X, Y), pair(Y, _), {body}.") == ["TCR501"]

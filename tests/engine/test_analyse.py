"""What analysis makes of rule files: names, scopes, types, order, strata, windows, imports."""

from __future__ import annotations

from pathlib import Path

import pytest
from tcrules.engine import ir
from tcrules.engine.analyse import Analysis, Source, analyse, fill, find_files, load, load_text
from tcrules.engine.show import show_body, show_program, show_rule


def analysed(text: str, **parameters: ir.Value) -> ir.Program:
    loaded = load_text(text)
    assert not loaded.diagnostics
    found = analyse(loaded.programs, parameters)
    assert found.program is not None, found.diagnostics
    return found.program


def diagnose(text: str, **parameters: ir.Value) -> Analysis:
    return analyse(load_text(text).programs, parameters)


def invariant(body: str, prelude: str = "") -> ir.Invariant:
    (only,) = analysed(f"{prelude}\ninvariant it {{ {body} }}").invariants
    return only


def rule(text: str) -> str:
    program = analysed(text)
    return show_rule(program.strata[-1].rules[-1])


# ------------------------------------------------------------------------------------------------ names


def test_arguments_become_positional_and_complete() -> None:
    (atom,) = invariant('each backward(step: S, call: C) expect false message "{S} {C}"').each
    assert isinstance(atom, ir.Atom)
    assert [type(term).__name__ for term in atom.arguments] == [
        "Any_", "Var", "Var", "Any_", "Any_", "Any_", "Any_", "Any_",
    ]  # fmt: skip


def test_columns_of_undeclared_relations_are_named_by_heads() -> None:
    program = analysed(
        "inside(outer: X, inner: Y) :- call(call: Y, parent: X).\n"
        "inside(X, Z) :- inside(outer: X, inner: Y), inside(Y, Z).\n"
        "plain(X) :- inside(X, _)."
    )
    assert [column.name for column in program.predicates["inside"].columns] == ["outer", "inner"]
    assert [column.name for column in program.predicates["plain"].columns] == ["$0"]
    assert program.predicates["inside"].columns[0].type == ir.Type("call", "int")


def test_a_declared_relation_without_rules_is_observed() -> None:
    program = analysed("relation a(x: int)\nrelation b(x: int)\nb(X) :- a(X).")
    assert program.predicates["a"].observed and not program.predicates["b"].observed


def test_a_declaration_equal_to_the_schema_is_accepted() -> None:
    columns = ", ".join(f"{c.name}: {c.type.name}" for c in analysed("").predicates["step"].columns)
    assert analysed(f"relation step({columns})").predicates["step"].observed


def test_parameters() -> None:
    text = "param n: int = 3\nparam f: float = 1\nrelation p(x: int, y: float)\nq($n, $f) :- p($n, $f)."
    assert rule(text) == "q(3, 1.0) :- p(x: 3, y: 1.0)."
    program = analysed(text, n=4, f=2)
    assert show_rule(program.strata[0].rules[0]) == "q(4, 2.0) :- p(x: 4, y: 2.0)."
    assert [d.code for d in diagnose(text, m=1).diagnostics] == ["TCR208"]
    assert [d.code for d in diagnose(text, n="x").diagnostics] == ["TCR216"]
    assert [d.code for d in diagnose(text, n=True).diagnostics] == ["TCR216"]


# ------------------------------------------------------------------------------------------------ scopes, order


def test_expressions_move_out_of_atoms() -> None:
    text = "relation p(x: int)\nq(X) :- p(X), p(X + 1), not p(X - 1)."
    assert rule(text) == "q(X) :- p(x: X), #1 = (X + 1), p(x: #1), not { #2 = (X - 1), p(x: #2) }."


def test_literals_wait_for_what_they_need() -> None:
    text = "relation p(x: int, y: int)\nq(Z) :- Z > 1, Z = Y * 2, not p(Y, Z), p(_, Y)."
    assert rule(text) == "q(Z) :- p(y: Y), Z = (Y * 2), Z > 1, not p(x: Y, y: Z)."


def test_an_equation_binds_either_side() -> None:
    assert rule("relation p(x: int)\nq(Z) :- X + 1 = Z, p(X).") == "q(Z) :- p(x: X), Z = (X + 1)."


def test_scopes_side_by_side_have_variables_of_their_own() -> None:
    body = invariant(
        "each backward(step: S), not { clip(step: S, call: X), X > 1 }, not { forward(step: S, call: X), X > 2 }"
        ' expect zero_grad(step: S, call: X), X > 3 message "{S}"'
    )
    _, first, second = body.each
    assert isinstance(first, ir.Not) and isinstance(second, ir.Not)
    names = {
        term.name for literal in (*first.body, *second.body, *body.expect[0]) for term in _variables(literal)
    }
    assert names == {"S", "X", "X#1", "X#2"}
    assert [variable.name for variable in first.shared] == ["S"]


def _variables(literal: ir.Literal) -> list[ir.Var]:
    terms = literal.arguments if isinstance(literal, ir.Atom) else ()
    return [term for term in terms if isinstance(term, ir.Var)]


def test_aggregates() -> None:
    text = "relation p(x: int, y: int)\nq(X, N) :- p(X, _), N = sum(Y + Z) { p(X, Y), p(Y, Z) } + 1."
    program = analysed(text)
    group = next(x for x in program.strata[0].rules[0].body if isinstance(x, ir.Group))
    assert [variable.name for variable in group.over] == ["Y", "Z"]
    assert [variable.name for variable in group.shared] == ["X"]


def test_facts_in_rule_files() -> None:
    program = analysed("parent(1, 2).\nparent(2, -3).\nup(X, Y) :- parent(Y, X).")
    assert [show_rule(r) for r in program.strata[0].rules] == ["parent(1, 2).", "parent(2, -3)."]


# ------------------------------------------------------------------------------------------------ types


def test_types_are_inferred_through_recursion() -> None:
    program = analysed(
        "reach(X, Y) :- reach(X, _), step_of(X, Y).\n"
        "reach(X, Y) :- step_of(X, Y).\n"
        "step_of(P, S) :- gradient(param: P, step: S).\n"
        "step_of(P, S) :- replicated(name: P), gradient(param: P, step: S)."
    )
    assert [c.type.name for c in program.predicates["step_of"].columns] == ["param", "step"]


def test_a_relation_of_params_and_texts_holds_texts() -> None:
    program = analysed("name(P) :- parameter(param: P).\nname(T) :- replicated(name: T).")
    assert program.predicates["name"].columns[0].type.name == "string"


def test_arithmetic_of_entities() -> None:
    each = invariant(
        "each backward(step: S), forward(step: T), D = T - S, U = S + 1, V = S % 2, W = S / 2"
        ' expect false message "{D} {U} {V} {W}"'
    )
    types = {variable.name: variable.type.name for variable in each.variables}
    assert types == {"S": "step", "T": "step", "D": "int", "U": "step", "V": "int", "W": "float"}


def test_integers_that_meet_floats_are_converted() -> None:
    each = invariant(
        'each metric(value: V, step: S), param_group(nth: N), V > N, V + N > 1 expect false message "{S}"'
    )
    conversions = [x for x in each.each if isinstance(x, ir.Compare)]
    assert isinstance(conversions[0].right, ir.Op) and conversions[0].right.name == "to_float"
    assert conversions[1].right == ir.Const(1.0, ir.Type("float", "float"))


def test_a_float_expression_cannot_bind_an_integer() -> None:
    text = "relation p(x: int, w: float)\nq(X) :- X = W / 2, p(_, W), p(X, _)."
    assert rule(text) == "q(X) :- p(w: W), p(x: X), X = (W / 2.0)."


def test_subtypes_of_entities() -> None:
    program = analysed(
        "type weight <: param\nrelation heavy(w: weight)\nq(P) :- gradient(param: P), heavy(P)."
    )
    assert program.predicates["q"].columns[0].type == ir.Type("weight", "string")


# ------------------------------------------------------------------------------------------------ strata


def test_strata_are_in_order() -> None:
    program = analysed(
        "d(X) :- c(X), not b(X).\n"
        "b(X) :- a(X, _), b2(X).\n"
        "b2(X) :- a(_, X), b(X).\n"
        "b2(X) :- a(X, X).\n"
        "c(X) :- a(X, _).\n"
        "relation a(x: int, y: int)"
    )
    order = [tuple(sorted(p.name for p in stratum.predicates)) for stratum in program.strata]
    assert sorted(order) == [("b", "b2"), ("c",), ("d",)]
    assert order[-1] == ("d",)
    assert [stratum.recursive for stratum in program.strata] == [names == ("b", "b2") for names in order]


def test_a_long_chain_of_relations_is_no_problem() -> None:
    rules = ["r0(X) :- call(call: X)."] + [f"r{n}(X) :- r{n - 1}(X)." for n in range(1, 3000)]
    assert len(analysed("\n".join(rules)).strata) == 3000


# ------------------------------------------------------------------------------------------------ invariants

WINDOWS = [
    ("each backward(step: S) expect forward(step: S)", "body"),
    ("each backward(step: S) expect forward(call: C), C > 0", "run"),
    ("each backward(step: S, begin: B) expect forward(begin: T), T > B", "run"),
    ("each backward(step: S, begin: B, end: E) expect forward(begin: T), T > B, T < E", "body"),
    ("each backward(step: S) expect forward(step: S - 1)", "body"),
    ("each backward(step: S) expect forward(step: S + 1)", "run"),
    ("each backward(step: S) expect forward(step: T), T <= S", "body"),
    ("each backward(step: S), not forward(step: S)  expect false", "body"),
    ("each optimizer(optimizer: O), not optimizer_step(optimizer: O) expect false", "run"),
    ("each backward(step: S), 2 < count { forward(step: T), T < S } expect false", "body"),
    ("each module(module: M) expect module(module: M, kind: K), not module(class: K)", "body"),
    ("each backward(step: S) expect seen(C), C > 0", "run"),
    ("each backward(call: C) expect seen(C)", "body"),
    ("each backward(call: C) expect undone(C)", "run"),
    ("each undone(C) expect false", "run"),
    ("each seen(C) expect false", "body"),
]


@pytest.mark.parametrize(("body", "kind"), WINDOWS, ids=[body for body, _ in WINDOWS])
def test_when_an_instance_is_decided(body: str, kind: str) -> None:
    prelude = (
        "seen(C) :- clip(call: C).\n"
        "undone(C) :- clip(call: C, at: T), not exists_after(T).\n"
        "exists_after(T) :- clip(at: T), forward(begin: B), B > T."
    )
    text = f'{prelude}\ninvariant it {{ {body} message "." }}'
    assert analysed(text).invariants[0].window.kind == kind


def test_the_literal_that_delays_a_verdict_is_named() -> None:
    body = 'each backward(step: S, begin: B) expect forward(begin: T), T > B message "{S}"'
    assert invariant(body).window.because == "forward(begin: T)"


def test_what_an_invariant_reads() -> None:
    found = invariant(
        'each done(C), clip(call: C, step: S) expect forward(step: S), not lost(C) message "{S}"',
        "done(C) :- backward(call: C), not zero_grad(call: C).\nlost(C) :- seed(call: C).",
    )
    assert found.needs == {"backward", "clip"}
    assert found.watched == {"zero_grad", "forward", "seed"}
    assert not found.monotone


def test_monotone() -> None:
    assert invariant('each backward(step: S) expect forward(step: S) message "{S}"').monotone
    assert invariant('each backward(step: S) expect false message "{S}"').monotone
    each = "each backward(step: S), not clip(step: S) expect false"
    assert not invariant(f'{each} message "{{S}}"').monotone


def test_forbid_is_a_denial() -> None:
    assert invariant('forbid backward(step: S) message "{S}"').expect == ()


def test_severity_tags_about_step() -> None:
    text = (
        "/// doc\ninvariant it @error @tags(a, b-c) {\n"
        "each update(step: T, param: P, optimizer: O, rank: R), update(step: S, param: P), S > T\n"
        'expect false message "{S}: {P}" }'
    )
    (found,) = analysed(text).invariants
    assert (found.severity, found.tags, found.doc) == ("error", ("a", "b-c"), "doc")
    assert [variable.name for variable in found.about] == ["P"]
    assert found.step and found.rank and (found.step.name, found.rank.name) == ("S", "R")


def test_template() -> None:
    program = analysed(
        "template nested(?A: api, ?B: api) {\n"
        "each call(call: C, api: ?A, raised: R) guard R expect call(api: ?B, parent: C)\n"
        'message "{?A} {?B}" }'
    )
    (found,) = program.templates
    assert [v.name for v in found.bound] == ["?A"]
    assert [v.name for v in found.free] == ["?B"]
    assert [v.name for v in found.guard] == ["R"]
    assert [v.name for v in found.invariant.variables] == ["C", "?A", "R"]
    assert "nested" in show_program(program)


def test_message() -> None:
    assert (
        fill("{{{S}}} {P:>3} {L:.2e} {B}", {"S": 1, "P": "a", "L": 0.5, "B": True}) == "{1}   a 5.00e-01 true"
    )


# ------------------------------------------------------------------------------------------------ files


def test_files_are_read_once_and_imports_first(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "main.tcr").write_text('import "sub/one.tcr"\nimport "two.tcr"\nmain(C) :- one(C), two(C).')
    (tmp_path / "sub" / "one.tcr").write_text('import "../two.tcr"\none(C) :- two(C).')
    (tmp_path / "two.tcr").write_text('import "shipped.tcr"\ntwo(C) :- shipped(C).')
    library = tmp_path / "library.tcr"
    library.write_text("shipped(C) :- backward(call: C).")
    find = find_files(lambda name: library if name == "shipped.tcr" else None)
    loaded = load([str(tmp_path / "main.tcr"), str(tmp_path / "two.tcr")], find)
    assert not loaded.diagnostics
    assert [Path(p.name).name for p in loaded.programs] == ["library.tcr", "two.tcr", "one.tcr", "main.tcr"]
    assert analyse(loaded.programs).program is not None


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary.tcr").write_bytes(b"\xff\xfe\x00")
    loaded = load([str(tmp_path / "none.tcr"), str(tmp_path / "binary.tcr"), str(tmp_path)], find_files())
    assert [d.code for d in loaded.diagnostics] == ["TCR212"] * 3


def test_syntax_faults_of_imported_files_are_reported() -> None:
    def find(path: str, importer: str | None) -> Source | None:
        return Source(path, "broken(" if path == "b.tcr" else 'import "b.tcr"')

    loaded = load(["a.tcr"], find)
    assert loaded.failed and {d.labels[0].span.source for d in loaded.diagnostics} == {"b.tcr"}


def test_faults_of_all_files_are_reported_together() -> None:
    programs = [
        *load_text("p(X) :- nowhere(X).", "a").programs,
        *load_text("q(X) :- nothing(X).", "b").programs,
    ]
    assert [d.labels[0].span.source for d in analyse(programs).diagnostics] == ["a", "b"]


def test_show_is_readable() -> None:
    body = invariant(
        "each param_group(lr: L, nth: N, step: S), L > N, -N < 2, abs(L) > 0.5,"
        ' 1 < count { forward(step: S, call: C), C > 0 } expect false message "{S}"'
    ).each
    assert show_body(body) == (
        "param_group(nth: N, step: S, lr: L), L > N, -N < 2, abs(L) > 0.5,"
        " #1 = count { forward(call: C, step: S), C > 0 }, 1 < #1"
    )


def test_suppressions_of_rules_that_are_not_loaded_have_no_effect() -> None:
    text = 'relation a(x: int)\ninvariant r { forbid a(x: X) message "{X}" }\nsuppress r (X: 3) because "known"\n'
    loaded = load_text(text + 'suppress other because "known"')
    assert [d.code for d in analyse(loaded.programs).diagnostics] == ["TCR401"]
    program = analyse(loaded.programs, elsewhere={"other"}).program
    assert program is not None
    found = [(s.rule, s.bindings, s.reason, s.until) for s in program.suppressions]
    assert found == [("r", (("X", 3),), "known", "")]
    assert 'suppress r (X: 3) because "known"' in show_program(program)


def test_rules_of_one_shape_are_suppressed_one_by_one() -> None:
    shape = 'invariant {0} {{ forbid a(x: X, y: "{1}") message "{{X}}" }}\n'
    text = "relation a(x: int, y: string)\n" + "".join(shape.format(f"r{n}", n) for n in range(6))
    program = analysed(text + 'suppress r3 (X: 3) because "known"\n')
    assert [s.rule for s in program.suppressions] == ["r3"]
    found = diagnose(text + 'suppress r3 (Y: 3) because "known"\nsuppress r7 because "known"\n')
    assert [d.code for d in found.diagnostics] == ["TCR218", "TCR401"]

"""Templates of one's own may define relations, types and parameters: what learned rules use of them is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pytest
from tcrules.grammar import parse
from tcrules.grammar.ast import ParameterDeclaration, RelationDeclaration, Rule, TypeDeclaration
from tcrules.rules.infer import infer
from tcrules.rules.infer.definitions import definitions, subject_of
from tcrules.rules.infer.templates import load_templates

from tcrules.checking import check_run
from tcrules.selection import Selection

MakeRun: TypeAlias = Callable[..., Path]

TEMPLATES = """
type person <: string
type pet <: string
relation score(rank: rank, name: string, level: int, user: person)
relation unused(rank: rank, owner: pet)
param least: int = {least}
good(N) :- score(name: N, level: L), L > $least.
bad(N) :- unused(owner: N).

/// The score {{?N}} is {{?L}}.
template score-level(?N: string, ?L: int) @tags(default, once) {{
    each score(name: N, level: L), good(N), N = ?N expect L = ?L about N message "{{N}} is not {{?L}}"
}}
"""


def emitted(run: Path, *facts: tuple[str, int, str]) -> Path:
    """Add facts of the relation `score` to a run, as `tcrules.emit` does."""
    rows = ", ".join(
        f"({n}::BIGINT, 0::BIGINT, '{name}', {level}::BIGINT, '{user}')"
        for n, (name, level, user) in enumerate(facts)
    )
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * FROM (VALUES {rows}) AS given(fact, rank, name, level, user)) "
            f"TO '{run / 'facts' / 'score.parquet'}'"
        )
    manifest = json.loads((run / "run.json").read_text())
    manifest["processes"][0]["user"] = ["score"]
    (run / "run.json").write_text(json.dumps(manifest))
    return run


@pytest.fixture
def runs(make_run: MakeRun) -> list[Path]:
    return [
        emitted(make_run(f"r{seed}", seed=seed), ("bleu", 3, "ann"), ("meteor", 4, "bo"))
        for seed in (1, 2, 3)
    ]


@pytest.fixture
def template(tmp_path: Path) -> Callable[[int], list[Path]]:
    def write(least: int) -> list[Path]:
        (tmp_path / "mine.tcr").write_text(TEMPLATES.format(least=least))
        return [tmp_path / "mine.tcr"]

    return write


def test_a_learned_file_can_be_checked_alone(runs: list[Path], template: Any, make_run: MakeRun):
    learned = infer(runs, templates=template(2))
    file = runs[0].parent / "learned.tcr"
    file.write_text(learned.text)
    parsed = parse(learned.text, "learned.tcr").program
    assert parsed is not None
    defined = {subject_of(one) for one in definitions(parsed.statements).statements}
    assert defined == {("type", "person"), ("relation", "score"), ("param", "least"), ("relation", "good")}
    selection = Selection((file,), library=False)
    worse = emitted(make_run("worse"), ("bleu", 9, "ann"))
    for run, violated in ((runs[0], 0), (worse, 1)):
        with check_run(run, selection) as checked:
            assert len(checked.report.violations) == violated
            assert {verdict.status for verdict in checked.report.verdicts.values()} <= {
                "held",
                "violated",
                "vacuous",
            }


def test_definitions_come_and_go_with_the_rules(runs: list[Path], template: Any, tmp_path: Path):
    first = infer(runs, templates=template(2))
    old = tmp_path / "old.tcr"
    old.write_text(first.text)
    again = infer(runs, templates=template(2), earlier=old)
    assert again.update is not None and (again.update.changes, again.update.kept) == ((), 0)
    assert again.text == first.text
    owned = "template owned(?P: param) @tags(default, once) "
    owned += '{ each parameter(param: P), P = ?P expect member(param: P) about P message "{P}" }'
    (tmp_path / "mine.tcr").write_text(TEMPLATES.format(least=2).split("///")[0] + owned)
    other = infer(runs, templates=[tmp_path / "mine.tcr"], earlier=old)
    assert other.update is not None and other.update.kept == 0
    assert "score" not in other.text


def test_counts_are_kept_for_one_value_of_a_parameter(runs: list[Path], template: Any):
    assert "bleu" in infer(runs, templates=template(2)).text
    assert "bleu" not in infer(runs, templates=template(3)).text


def test_the_shipped_templates_need_no_declarations():
    """They define derived relations only; whatever they define is used by one of them."""
    loaded = load_templates()
    assert {type(one) for one in loaded.definitions.statements} == {Rule}
    everything = loaded.definitions.needed(loaded.definitions.statements)
    assert loaded.definitions.needed(loaded.trees.values()) == everything


def test_kinds_have_names_of_their_own():
    text = (
        "type far <: int\nparam far: far = 3\nrelation far(a: far)\nnear(X) :- far(X), X < $far.\nfar(1).\n"
    )
    parsed = parse(text, "x.tcr").program
    assert parsed is not None
    found = definitions(parsed.statements)
    (near,) = [one for one in found.statements if isinstance(one, Rule) and one.body]
    kinds = [type(one) for one in found.needed([near.body])]
    assert kinds == [TypeDeclaration, ParameterDeclaration, RelationDeclaration, Rule]
    assert found.needed([]) == []

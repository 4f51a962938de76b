"""The learned file as people read it: sentences, sections, few words; and what learning again changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tcrules.grammar import parse, print_program, print_statement
from tcrules.grammar.ast import Invariant
from tcrules.grammar.diagnostics import TcrError
from tcrules.rules.infer import infer
from tcrules.rules.infer.definitions import definitions
from tcrules.rules.infer.model import Evidence, Learned, Pattern, Shape
from tcrules.rules.infer.sentences import sentence, subject, why
from tcrules.rules.infer.simplify import simplify
from tcrules.rules.infer.update import update

SHAPE = Shape("t", (("O", "optimizer"), ("P", "param")), (("N", "int"),), ())


def rule(**filling: object) -> Learned:
    return Learned("t", tuple(filling.items()), (), Evidence(3, 1200))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "param", "said"),
    [
        ("{?P} moves.", Pattern("*"), "Any parameter moves."),
        ("{?P} moves.", Pattern("h.*"), "Any parameter h.* moves."),
        ("{?P} moves.", "h.0", "h.0 moves."),
        ("A parameter ({?P}) of {?O} moves.", Pattern("*"), "A parameter of SGD#0 moves."),
        ("A parameter ({?P}) of {?O} moves.", "h.0", "A parameter (h.0) of SGD#0 moves."),
    ],
)
def test_sentences(text: str, param: object, said: str):
    assert sentence(text, rule(O="SGD#0", P=param), SHAPE) == said


def test_subjects_go_from_the_thing_named_first():
    assert subject(rule(P=Pattern("*"), O="SGD#0"), SHAPE) == (0, "optimizer SGD#0")
    assert subject(rule(P=Pattern("*")), SHAPE)[1] == "parameters"
    assert subject(rule(N=3), SHAPE)[1] == "other rules"


def test_evidence_is_told_in_sentences():
    assert why(Evidence(3, 1200, 10)) == ("why: it held for all 1,200 instances in 3 runs, for 10 names.",)
    assert why(Evidence(1, 1)) == ("why: it held for its only instance in 1 run.",)
    told = why(
        Evidence(9, 70, projects=3, left_out=40, left_out_failed=1, risk=0.031, mutations=12, caught=5)
    )
    assert told[0].endswith("in 9 runs of 3 programs.")
    assert told[1] == "Of 40 such rules that were learned without one program, 1 failed there (risk 3.1%)."
    assert told[2] == "It finds 5 of 12 faults that were injected where it looks."


@pytest.mark.parametrize(
    ("each", "expect", "shorter_each", "shorter_expect"),
    [
        # what is shown stays; the rest is folded, and what then says nothing goes
        ('step(step: S), seen(of: V, kind: K), V = "a", K = "b"', 'seen(of: A), A = "c", A != "d"',
         'step(step: S), seen(of: V, kind: "b"), V = "a"', 'seen(of: "c")'),
        # a variable that both halves use, a contradiction, an aggregate
        ('seen(of: V), V = "a"', "seen(kind: V)", 'seen(of: V), V = "a"', "seen(kind: V)"),
        ('seen(of: V)', 'seen(kind: K), K = "a", K != "a"', "seen(of: V)", 'seen(kind: "a"), "a" != "a"'),
        ('seen(of: V)', 'N = count(K) { seen(kind: K) }, K = "a"',
         "seen(of: V)", 'N = count(K) { seen(kind: K) }, K = "a"'),
        ('seen(of: V)', 'K = "a", not { seen(kind: K) }', "seen(of: V)", 'not { seen(kind: "a") }'),
        ('seen(of: V)', 'K = "a"', "seen(of: V)", 'K = "a"'),
    ],
)  # fmt: skip
def test_constants_are_folded(each: str, expect: str, shorter_each: str, shorter_expect: str):
    long, short = (
        invariant(f'invariant x {{ each {e} expect {x} about V message "{{V}}" }}')
        for e, x in ((each, expect), (shorter_each, shorter_expect))
    )
    assert print_statement(simplify(long)) == print_statement(short)


def invariant(text: str) -> Invariant:
    parsed = parse(text, "x.tcr")
    assert parsed.program is not None, parsed.diagnostics
    (found,) = parsed.program.statements
    assert isinstance(found, Invariant)
    return found


def test_a_learned_file_is_canonical_and_grouped(reference: list[Path]):
    text = infer(reference).text
    parsed = parse(text, "x.tcr").program
    assert parsed is not None and print_program(parsed) == text
    rulers = [line.split("- ")[-1] for line in text.splitlines() if line.startswith("// ----")]
    assert rulers[0] == "optimizer SGD#0" and rulers[-1] == "definitions that rules above use"
    assert len(rulers) == len(set(rulers))
    assert "{?" not in text and "any parameter" in text.lower()


OLD = """
import "other.tcr"
{learned}
invariant mine @error {{ each optimizer_step(step: S) expect far(step: S) about S message "{{S}}" }}
far(step: S) :- step(step: S), S > 3.
suppress learned-gone because "never mind"
invariant learned-gone @tags(learned) {{ each step(step: S) expect S > 0 about S message "{{S}}" }}
"""


def test_learning_again_tells_what_changes_and_keeps_what_is_by_hand(reference: list[Path], tmp_path: Path):
    first = infer(reference[:2])
    old = tmp_path / "old.tcr"
    old.write_text(OLD.format(learned=first.text.replace("Before != After", "Before < After")))
    found = infer(reference, earlier=old).update
    assert found is not None
    kinds = {change.rule: change for change in found.changes}
    assert kinds["learned-gone"].kind == "vanished"
    changed = [change for change in found.changes if change.kind == "changed"]
    assert changed and all("+    expect  Before != After" in change.lines for change in changed)
    assert found.kept == 4 and found.same == first.rules - len(changed)
    assert found.text.startswith('import "other.tcr"') and "suppress learned-gone" in found.text
    assert "invariant learned-gone" not in found.text and found.text.count("far(step: S) :-") == 1
    parsed = parse(found.text, "old.tcr").program
    assert parsed is not None
    again = update(parsed.statements, found.text, definitions(()))
    assert again.changes == () and again.text == found.text


def test_evidence_alone_is_no_change(make_run: Any, tmp_path: Path):
    old = tmp_path / "old.tcr"
    old.write_text(infer([make_run(f"r{n}", seed=n) for n in range(3)]).text)
    learned = infer([make_run(f"longer{n}", seed=n, steps=9) for n in range(3)], earlier=old)
    assert learned.update is not None and learned.update.changes == () and learned.text != old.read_text()


def test_an_earlier_file_with_faults_is_refused(reference: list[Path], tmp_path: Path):
    (tmp_path / "old.tcr").write_text("invariant { broken")
    with pytest.raises(TcrError):
        infer(reference, earlier=tmp_path / "old.tcr")

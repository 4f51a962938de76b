"""The language reference tells the truth: its programs give what is written below them, its functions are all there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from tcrules.engine import ir, naive
from tcrules.engine.duckdb_store import DuckDBStore, Settings
from tcrules.engine.facts import Coverage, MemoryFacts
from tcrules.engine.values import FUNCTIONS, normalise
from tcrules.grammar import ast, parse

# With --import-mode=importlib a test folder is not importable by name.
_spec = importlib.util.spec_from_file_location("engine_helping", Path(__file__).with_name("helping.py"))
assert _spec and _spec.loader
helping = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(helping)

TEXT = (Path(__file__).parents[2] / "grammar" / "README.md").read_text(encoding="utf-8")
FENCES = re.findall(r"^```tcr\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
#: The comments at the end of an example are the facts that it derives.
_RESULT = re.compile(r"^// (no )?([a-z_]+)(\(.*\))?\.$")
RUN = [text for text in FENCES if _RESULT.match(text.splitlines()[-1])]


def expected(text: str) -> dict[str, set[ir.Fact]]:
    found: dict[str, set[ir.Fact]] = {}
    lines = text[text.rindex("\n\n") :].strip().splitlines()
    for line in lines:
        match = _RESULT.match(line)
        assert match is not None, line
        facts = found.setdefault(match[2], set())
        if match[1] is None:
            program = parse(line.removeprefix("// "), "line").program
            assert program is not None and isinstance(program.statements[0], ast.Rule)
            facts.add(tuple(_value(argument.value) for argument in program.statements[0].head.arguments))
    return found


def _value(expression: ast.Expression) -> ir.Value:
    assert isinstance(expression, ast.Constant)
    return normalise(expression.value)


@pytest.mark.parametrize("text", RUN, ids=lambda text: text.split("(")[0].split()[-1])
def test_examples_give_what_they_say(text: str) -> None:
    program, facts = helping.program_of(text), MemoryFacts({}, Coverage(frozenset()))
    model = naive.evaluate(program, facts)
    with DuckDBStore.from_memory(facts, program, Settings(threads=1)) as store:
        for name, wanted in expected(text).items():
            assert set(model.derived[name]) == wanted
            assert store.rounds(program.predicates[name]) == model.derived[name]


def test_the_meaning_is_shown_by_examples() -> None:
    assert len(RUN) >= 7


def test_every_function_is_listed() -> None:
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| [^|]* \| [^|]* \| (.*) \|$", TEXT, re.MULTILINE))
    assert rows == {function.name: function.doc.replace("|", "\\|") for function in FUNCTIONS.values()}

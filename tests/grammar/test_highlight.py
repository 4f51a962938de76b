"""The TextMate grammar colours every shipped file as the Pygments lexer does; both come from one table."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from pygments.token import Error
from tcrules.grammar.pygments_lexer import TOKENS, TcrLexer
from tcrules.grammar.textmate import SCOPES, grammar

ROOT = Path(__file__).resolve().parents[2]
EDITOR = ROOT / "editors" / "vscode"
FILES = sorted(
    path
    for folder in ("rules", "benchmarks", "examples", "tests/grammar")
    for path in (ROOT / folder).rglob("*.tcr*")
    if path.suffix in (".tcr", ".tcr-test")
)
KINDS = {f"{scope}.tcr": kind for kind, scope in SCOPES.items()}


def textmate(text: str) -> Iterator[tuple[str, str]]:
    """Each character with its kind, as an editor finds it: line by line, leftmost match, first pattern."""
    patterns = json.loads((EDITOR / "syntaxes" / "tcr.tmLanguage.json").read_text())["patterns"]
    for line in text.splitlines(keepends=True):
        yield from _line(line, patterns)


def _line(line: str, patterns: list) -> Iterator[tuple[str, str]]:
    at, open_ = 0, None
    while at < len(line):
        rules = open_["patterns"] if open_ else patterns
        found = [
            (match.start(), place, match, rule)
            for place, rule in enumerate(rules)
            if (match := re.compile(rule.get("match") or rule["begin"]).search(line, at))
        ]
        outside = KINDS[open_["name"]] if open_ else "blank"
        end = re.compile(open_["end"], re.MULTILINE).search(line, at) if open_ else None
        if end is not None and (not found or end.start() <= min(found)[0]):
            yield from ((character, outside) for character in line[at : end.end()])
            at, open_ = end.end(), None
            continue
        if not found:
            yield from ((character, outside) for character in line[at:])
            return
        start, _, match, rule = min(found, key=lambda entry: entry[:2])
        yield from ((character, outside) for character in line[at:start])
        for character, position in zip(match.group(), range(match.start(), match.end()), strict=True):
            yield character, _kind(rule, match, position)
        at = match.end()
        open_ = rule if "begin" in rule else open_


def _kind(rule: dict, match: re.Match[str], position: int) -> str:
    for group, capture in rule.get("captures", {}).items():
        if match.start(int(group)) <= position < match.end(int(group)):
            return KINDS[capture["name"]]
    return KINDS[rule["name"]] if "name" in rule else "blank"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_both_highlighters_agree(path: Path):
    text = path.read_text(encoding="utf-8", errors="replace")
    lexer = TcrLexer(stripnl=False, ensurenl=False)
    names = {token: kind for kind, token in TOKENS.items()}
    pygments = [
        (character, names.get(token)) for token, value in lexer.get_tokens(text) for character in value
    ]
    legal = {
        at for at, (character, kind) in enumerate(pygments) if kind is not None and not character.isspace()
    }
    found = list(textmate("".join(character for character, _ in pygments)))
    assert len(found) == len(pygments)
    different = [(at, found[at], pygments[at]) for at in sorted(legal) if found[at] != pygments[at]]
    assert different == []


def test_shipped_rules_have_no_token_without_a_colour():
    for path in (ROOT / "rules").rglob("*.tcr*"):
        tokens = TcrLexer().get_tokens(path.read_text(encoding="utf-8"))
        assert [value for token, value in tokens if token is Error] == [], path


def test_the_grammar_file_is_up_to_date():
    text = (EDITOR / "syntaxes" / "tcr.tmLanguage.json").read_text()
    assert json.loads(text) == json.loads(json.dumps(grammar())), "python -m tcrules.grammar.textmate > …"


def test_the_extension_names_files_that_exist():
    contributes = json.loads((EDITOR / "package.json").read_text())["contributes"]
    for language in contributes["languages"]:
        json.loads((EDITOR / language["configuration"]).read_text())
    for one in contributes["grammars"]:
        assert json.loads((EDITOR / one["path"]).read_text())["scopeName"] == one["scopeName"]


def test_pygments_finds_the_lexer():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, name = project["entry-points"]["pygments.lexers"]["tcr"].split(":")
    assert getattr(import_module(module), name) is TcrLexer

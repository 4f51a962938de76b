"""The parser's tables: made of `tcr.lark` by lark, kept beside it as plain data in `tcr.json`.

    python -m tcrules.grammar.tables      # after a change of the grammar

Making them takes a tenth of a second and lark's import, reading them a millisecond. The file carries a checksum of the
grammar; where that differs, the tables are made anew, so a stale file costs time and nothing else.
"""

from __future__ import annotations

import json
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lark import Lark

HERE = Path(__file__).parent
GRAMMAR, FILE = HERE / "tcr.lark", HERE / "tcr.json"
STARTS = (
    *(f"{kind}_statement" for kind in ("import", "type", "relation", "param", "rule")),
    *(f"{kind}_statement" for kind in ("invariant", "template", "suppress", "test")),
    "query",
)

#: JSON.
#: `terminals`: [name, pattern, whether it is plain text, characters that it can begin with]; `ignored`: their names.
#: `scanners`: lists of terminals in the order in which they are tried.
#: `rules`: [callback ("" where the children go to the parent), symbol, number of children, places of such lists].
#: `states`: [scanner, actions]; a symbol's action is the state to go to, or -1 - rule.
#: `starts`: name -> [first state, last state].
Tables: TypeAlias = dict[str, Any]


@cache
def tables() -> Tables:
    """The tables of `tcr.lark`."""
    checksum = zlib.crc32(GRAMMAR.read_bytes())
    try:
        found: Tables = json.loads(FILE.read_bytes())
    except (OSError, ValueError):
        found = {}
    return found if found.get("checksum") == checksum else generate()


@cache
def lark() -> Lark:
    """The grammar as lark reads it: what makes the tables, and tells what was expected where a text does not fit."""
    from lark import Lark

    return Lark(
        GRAMMAR.read_text(encoding="utf-8"),
        parser="lalr",
        lexer="contextual",
        start=list(STARTS),
        keep_all_tokens=True,
        maybe_placeholders=False,
    )


def generate() -> Tables:
    """Tables as lark makes them; the same for the same grammar, however sets are ordered in this process."""
    made: Any = lark()
    table, lexers = made.parser.parser._parse_table, made.parser.lexer.lexers
    rules = sorted(made.rules, key=str)
    rule_numbers = {id(rule): number for number, rule in enumerate(rules)}
    numbers = {terminal.name: number for number, terminal in enumerate(made.terminals)}
    order = _numbered(table)
    scanners: dict[tuple[int, ...], int] = {}
    states = []
    for state in order:
        scanner = tuple(numbers[terminal.name] for terminal in lexers[state].scanner.terminals)
        assert not lexers[state].callback, "no terminal is rewritten after it was found"
        actions = {
            name: -1 - rule_numbers[id(target)] if repr(kind) == "Reduce" else order[target]
            for name, (kind, target) in sorted(table.states[state].items())
        }
        states.append([scanners.setdefault(scanner, len(scanners)), actions])
    return {
        "checksum": zlib.crc32(GRAMMAR.read_bytes()),
        "terminals": [_terminal(terminal) for terminal in made.terminals],
        "ignored": sorted(made.ignore_tokens),
        "scanners": [list(scanner) for scanner in scanners],
        "rules": [_rule(rule) for rule in rules],
        "states": states,
        "starts": {name: [order[table.start_states[name]], order[table.end_states[name]]] for name in STARTS},
    }


def _numbered(table: Any) -> dict[int, int]:
    """States by their distance from the first ones, lark's number to ours."""
    found = dict.fromkeys(table.start_states[name] for name in STARTS)
    waiting = list(found)
    for state in waiting:
        for _, (kind, target) in sorted(table.states[state].items()):
            if repr(kind) == "Shift" and target not in found:
                found[target] = None
                waiting.append(target)
    return {state: number for number, state in enumerate(found)}


def _rule(rule: Any) -> list[object]:
    name = str(rule.alias or rule.origin.name)
    lists = [
        at for at, symbol in enumerate(rule.expansion) if not symbol.is_term and symbol.name.startswith("_")
    ]
    return ["" if name.startswith("_") else name, str(rule.origin.name), len(rule.expansion), lists]


def _terminal(terminal: Any) -> list[object]:
    pattern = terminal.pattern
    plain = pattern.type == "str"
    source = pattern.value if plain else pattern.to_regexp()
    return [terminal.name, source, plain, source[0] if plain else "".join(_beginnings(source))]


def _beginnings(pattern: str) -> Iterator[str]:
    """ASCII characters with which a match can begin. All terminals begin with such."""
    from re import _parser

    possible = _first(list(_parser.parse(pattern)))
    return (chr(code) for code in range(128) if possible(code))


def _first(items: list[Any]) -> Any:
    """A test of character codes: whether a match of a parsed pattern can begin with one."""
    import re

    for name, value in items:
        if str(name) in ("ASSERT", "ASSERT_NOT", "AT"):
            continue
        if str(name) == "LITERAL":
            return lambda code: code == value
        if str(name) == "SUBPATTERN":
            return _first([*value[-1]])
        if str(name) == "BRANCH":
            tests = [_first([*branch]) for branch in value[1]]
            return lambda code: any(test(code) for test in tests)
        if str(name) in ("MAX_REPEAT", "MIN_REPEAT") and value[0] > 0:
            return _first([*value[2]])
        if str(name) == "IN":
            return lambda code: _within(code, value)
        break
    raise re.error("a terminal begins with one character of a set")


def _within(code: int, parts: list[Any]) -> bool:
    for name, value in parts:
        if str(name) == "LITERAL" and code == value:
            return True
        if str(name) == "RANGE" and value[0] <= code <= value[1]:
            return True
    return False


if __name__ == "__main__":
    FILE.write_text(json.dumps(generate(), separators=(",", ":")) + "\n", encoding="utf-8")

"""What learning again changes: a learned file beside an earlier one, and what people wrote into that."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tcrules.engine.analyse.imports import Unreadable, rule_text
from tcrules.grammar import ast, parse, print_program, print_statement
from tcrules.grammar.diagnostics import TcrError
from tcrules.rules.infer.definitions import Definition, Definitions, definitions, subject_of
from tcrules.rules.infer.model import InferError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

LEARNED = "learned"


@dataclass(frozen=True, slots=True)
class Change:
    """A rule that was added, changed or has vanished; `lines` as of a diff, each begins with `+`, `-` or a blank."""

    kind: str
    rule: str
    sentence: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """`text` is the new file with what people wrote into the old one; `changes` are those of learned rules.

    `same` counts learned rules that did not change, `kept` the statements that were written by hand.
    """

    text: str
    changes: tuple[Change, ...]
    same: int
    kept: int


def read_earlier(path: Path) -> tuple[ast.Statement, ...]:
    """The statements of a file that was learned before.

    Raises:
        InferError: the file cannot be read.
        TcrError: it cannot be parsed.
    """
    try:
        return _statements(rule_text(path), str(path))
    except Unreadable as fault:
        raise InferError(
            f"cannot read '{path}': {fault}", "give a rule file that was learned before"
        ) from fault


def update(before: Sequence[ast.Statement], new: str, templates: Definitions) -> Update:
    """Compare a learned file with the statements of an earlier one; `templates` is what their files define.

    A rule is learned if it is tagged so; what a rule says counts, not how many instances it held for. Rules without
    the tag, suppressions and declarations of the old file are kept.
    """
    after = _statements(new, "learned.tcr")
    was, now = ({rule.id: rule for rule in _learned(several)} for several in (before, after))
    changes = [_change("added", None, now[name]) for name in sorted(now.keys() - was.keys())]
    changes += [
        _change("changed", was[name], now[name])
        for name in sorted(was.keys() & now.keys())
        if _text(was[name]) != _text(now[name])
    ]
    changes += [_change("vanished", was[name], None) for name in sorted(was.keys() - now.keys())]
    same = sum(_text(was[name]) == _text(now[name]) for name in was.keys() & now.keys())
    kept = tuple(_by_hand(before, after, templates))
    imports = tuple(one for one in kept if isinstance(one, ast.Import))
    others = tuple(one for one in kept if not isinstance(one, ast.Import))
    text = print_program(ast.Program((*imports, *after, *others))) if kept else new
    return Update(text, tuple(changes), same, len(kept))


def _statements(text: str, path: str) -> tuple[ast.Statement, ...]:
    parsed = parse(text, path)
    if parsed.program is None:
        raise TcrError(parsed.diagnostics, {path: text})
    return tuple(parsed.program.statements)


def _learned(statements: Iterable[ast.Statement]) -> Iterator[ast.Invariant]:
    for one in statements:
        if isinstance(one, ast.Invariant) and any(
            LEARNED in a.arguments for a in one.annotations if a.name == "tags"
        ):
            yield one


def _by_hand(
    before: Sequence[ast.Statement], after: Sequence[ast.Statement], templates: Definitions
) -> Iterator[ast.Statement]:
    """Statements of the old file that learning did not write, and what they use of those that it did."""
    learned = {rule.id for rule in _learned(before)}
    own = [one for one in before if isinstance(one, ast.Invariant) and one.id not in learned]
    used = set(map(_key, definitions(before).needed(own)))
    written = set(map(_key, templates.statements))
    present = set(map(_key, after))
    defined = {subject_of(one) for one in after if isinstance(one, Definition)}
    for one in before:
        if isinstance(one, ast.Invariant) and one.id in learned:
            continue
        if isinstance(one, Definition) and (subject_of(one) in defined or _key(one) in written - used):
            continue
        if _key(one) not in present:
            yield one


def _key(statement: ast.Statement) -> str:
    bare = replace(statement, comments=())
    return print_statement(bare if isinstance(bare, ast.Import) else replace(bare, doc=()))


def _text(rule: ast.Invariant) -> str:
    """A rule without its evidence."""
    return print_statement(replace(rule, doc=(), comments=()))


def _change(kind: str, old: ast.Invariant | None, new: ast.Invariant | None) -> Change:
    rule = new or old
    assert rule is not None
    lines = difflib.ndiff(_text(old).splitlines() if old else [], _text(new).splitlines() if new else [])
    return Change(
        kind,
        rule.id,
        next((line for line in rule.doc if line), ""),
        tuple(line[:1] + line[2:] for line in lines if not line.startswith("?")),
    )


__all__ = ["Change", "Update", "read_earlier", "update"]

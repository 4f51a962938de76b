"""The parser's tables are those of the grammar, and the parser accepts and builds what lark does."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from lark import Token, Tree
from lark.exceptions import UnexpectedInput
from tcrules.grammar import tables
from tcrules.grammar.machine import Unfit, run
from tcrules.grammar.scan import Source, scan

GOLDEN = sorted(Path(__file__).parent.glob("golden/*.tcr*"))


class Recorder:
    """A builder that keeps what it is called with."""

    def __getattr__(self, name: str) -> Any:
        return lambda children: (name, list(children))


def by_lark(text: str, start: str) -> object:
    try:
        return _plain(tables.lark().parse(text, start=start))
    except UnexpectedInput:
        return None


def by_machine(text: str, start: str) -> object:
    try:
        return _plain(run(text, start, Recorder()))
    except Unfit:
        return None


def _plain(node: Any) -> object:
    if isinstance(node, Tree):
        return (str(node.data), [_plain(child) for child in node.children])
    if isinstance(node, tuple):
        return (node[0], [_plain(child) for child in node[1]])
    if isinstance(node, Token):
        assert node.start_pos is not None
    return (node.type, str(node), node.start_pos, node.end_pos)


def statements(text: str) -> list[tuple[str, str]]:
    found = scan(Source(text, "x")).chunks
    return [(text[chunk.start : chunk.end], f"{chunk.kind}_statement") for chunk in found]


def test_the_tables_are_current() -> None:
    assert json.loads(tables.FILE.read_bytes()) == json.loads(json.dumps(tables.generate())), (
        "run `python -m tcrules.grammar.tables`"
    )


def test_a_stale_file_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for content in ("{}", "no json", '{"checksum": 1}'):
        (tmp_path / "tcr.json").write_text(content)
        monkeypatch.setattr(tables, "FILE", tmp_path / "tcr.json")
        assert tables.tables.__wrapped__()["starts"].keys() == set(tables.STARTS)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_accepts_what_lark_accepts(path: Path) -> None:
    chance = random.Random(path.name)
    for text, start in statements(path.read_text(encoding="utf-8")):
        assert by_machine(text, start) == by_lark(text, start)
        for _ in range(10):
            at = chance.randrange(len(text))
            damaged = (
                text[:at] + chance.choice(["", "(", "x", "X", " ", "-", ",", '"', "1.5"]) + text[at + 1 :]
            )
            assert by_machine(damaged, start) == by_lark(damaged, start)


def test_builds_what_lark_builds(sample: str) -> None:
    found = statements(sample)
    assert len(found) > 5
    for text, start in found:
        assert by_machine(text, start) == by_lark(text, start) is not None

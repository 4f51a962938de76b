"""Rules about the sources themselves: layers, sizes, examples in docstrings."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import tcrules

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("tcrules", "instrument", "grammar", "engine", "rules")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
MODULES = sorted(module.name for module in pkgutil.walk_packages(tcrules.__path__, "tcrules."))
#: Which rooms a room may import from. The instrument's schema is data that everybody reads.
ALLOWED = {
    "instrument": {"instrument"},
    "grammar": {"grammar"},
    "engine": {"engine", "grammar", "instrument.schema"},
    "rules": {"rules", "engine", "grammar", "instrument"},
}
LONGEST_FUNCTION = 70
LONGEST_FILE = 400
#: A table is no program: it may be as long as what it lists.
TABLES = {"instrument/schema.py"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tcrules."):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("tcrules.")}
    return {name.removeprefix("tcrules.") for name in found}


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_rooms_import_in_one_direction(room: str):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / room).rglob("*.py")
        for name in imports(path)
        if not any(name == allowed or name.startswith(f"{allowed}.") for allowed in ALLOWED[room])
    ]
    assert wrong == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sizes(path: Path):
    text = path.read_text(encoding="utf-8")
    if str(path.relative_to(ROOT)) not in TABLES:
        assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, node.name


@pytest.mark.parametrize("module", [name for name in MODULES if not name.endswith("__main__")])
def test_docstring_examples(module: str):
    if module in ("tcrules.demonstration.train", "tcrules.instrument.startup.sitecustomize"):
        pytest.skip("a script, not a module to import")
    failed, _ = doctest.testmod(importlib.import_module(module))
    assert failed == 0


def test_docstring_examples_of_the_root():
    assert doctest.testmod(tcrules).failed == 0

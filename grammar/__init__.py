"""The rule language `.tcr`: text to tree and back, and messages about what is wrong with it.

Importing this is cheap: each part is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from tcrules.grammar.render import (  # a module and a function of one name: not to be had lazily
    render,
    to_json,
)

if TYPE_CHECKING:
    from tcrules.grammar.diagnostics import CODES, Diagnostic, Label, TcrError, did_you_mean
    from tcrules.grammar.parser import Parsed, parse, parse_literals, parse_tests
    from tcrules.grammar.printer import (
        print_expression,
        print_literal,
        print_program,
        print_statement,
        print_tests,
    )

__all__ = [
    "CODES",
    "Diagnostic",
    "Label",
    "Parsed",
    "TcrError",
    "did_you_mean",
    "parse",
    "parse_literals",
    "parse_tests",
    "print_expression",
    "print_literal",
    "print_program",
    "print_statement",
    "print_tests",
    "render",
    "to_json",
]

_HOMES = {
    **dict.fromkeys(("CODES", "Diagnostic", "Label", "TcrError", "did_you_mean"), "diagnostics"),
    **dict.fromkeys(("Parsed", "parse", "parse_literals", "parse_tests"), "parser"),
    **dict.fromkeys(("print_expression", "print_literal", "print_program", "print_statement"), "printer"),
    **dict.fromkeys(("print_tests",), "printer"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value

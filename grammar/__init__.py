"""The rule language `.tcr`: text to tree and back, and messages about what is wrong with it.

Importing this is cheap: lark is loaded by the first parse.
"""

from tcrules.grammar.diagnostics import CODES, Diagnostic, Label, TcrError, did_you_mean
from tcrules.grammar.parser import Parsed, parse, parse_literals, parse_tests
from tcrules.grammar.printer import (
    print_expression,
    print_literal,
    print_program,
    print_statement,
    print_tests,
)
from tcrules.grammar.render import render, to_json

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

"""Tables for `explain.py`: what other languages write, and what the terminals of the grammar are called."""

from __future__ import annotations

HABITS: tuple[tuple[str, str], ...] = (
    ("===", "equality is written `=`"),
    ("==", "equality is written `=`"),
    (":=", "equality is written `=`, and a rule is written `head(X) :- body(X).`"),
    ("<>", "inequality is written `!=`"),
    ("=/=", "inequality is written `!=`"),
    ("\\=", "inequality is written `!=`"),
    ("=<", "less or equal is written `<=`"),
    ("=>", "greater or equal is written `>=`; a rule is written `head(X) :- body(X).`"),
    ("<-", "a rule is written `head(X) :- body(X).`"),
    ("->", "a rule is written `head(X) :- body(X).`; what must follow stands in `expect`"),
    ("&&", "literals are joined with `,`"),
    ("&", "literals are joined with `,`"),
    ("and", "literals are joined with `,`"),
    ("||", "alternatives are written `{ a(X) or b(X) }`, or as several rules"),
    ("|", "alternatives are written `{ a(X) or b(X) }`, or as several rules"),
    ("or", "in this place alternatives stand in braces: `{ a(X) or b(X) }`"),
    (";", "literals are joined with `,`, a rule ends with `.`, alternatives are written `{ a(X) or b(X) }`"),
    ("!", "negation is written `not a(X)` or `not { a(X), b(X) }`"),
    ("\\+", "negation is written `not a(X)` or `not { a(X), b(X) }`"),
    ("~", "negation is written `not a(X)` or `not { a(X), b(X) }`"),
    ("'", 'strings are written with double quotes: `"text"`'),
    ("`", 'strings are written with double quotes: `"text"`'),
    ("#", "a comment starts with `//`"),
    ("/*", "a comment starts with `//` and ends with the line"),
    ("[", "there are no lists; a set of values is a relation"),
    ("]", "there are no lists; a set of values is a relation"),
    ("^", "there is no power operator; multiply"),
    ("**", "there is no power operator; multiply"),
)
"""Marks of other languages, longer ones first, and what is written here."""

CONFUSABLE: dict[str, str] = {
    "\u201c": 'use the plain quote `"`',
    "\u201d": 'use the plain quote `"`',
    "\u2018": 'use the plain quote `"`',
    "\u2019": 'use the plain quote `"`',
    "\u00a0": "this is a no-break space; use a plain one",
    "\u2013": "this is a dash; use `-`",
    "\u2014": "this is a dash; use `-`",
    "\u2212": "this is a mathematical minus; use `-`",
    "\u2260": "inequality is written `!=`",
    "\u2264": "less or equal is written `<=`",
    "\u2265": "greater or equal is written `>=`",
    "\u00ac": "negation is written `not`",
    "\u00d7": "multiplication is written `*`",
    "\x00": "is this a text file?",
    "\ufffd": "is this file encoded as UTF-8?",
}

_GROUPS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"PLUS", "MINUS", "STAR", "SLASH", "INTDIV", "PERCENT"}), "an operator"),
    (frozenset({"EQUAL", "UNEQUAL", "LESS", "LESSEQ", "MORE", "MOREEQ"}), "a comparison"),
    (frozenset({"VARIABLE", "WILDCARD", "META", "PARAMETER", "INT", "FLOAT", "FLOATWORD"}), "a value"),
    (frozenset({"INT", "FLOAT", "FLOATWORD", "MINUS", "STRING", "BOOLEAN"}), "a constant"),
    (frozenset({"INT", "FLOAT", "STRING", "BOOLEAN"}), "a constant"),
)
_TERMINALS: dict[str, str] = {
    "NAME": "a name",
    "ID": "an id",
    "WORD": "a word",
    "VARIABLE": "a variable",
    "META": "a metavariable",
    "STRING": "a string",
    "VERDICT": "a verdict (violated, held, vacuous, unknown)",
    "IF": "`:-`",
    "SUBTYPE": "`<:`",
    "EQUAL": "`=`",
    "MINUS": "`-`",
    "COLON": "`:`",
    "COMMA": "`,`",
    "DOT": "`.`",
    "AT": "an annotation",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "NOT": "`not`",
    "$END": "the end",
}
_PART_OF_VALUE = frozenset({"STRING", "BOOLEAN", "FLOATWORD", "LPAR", "MINUS", "NAME", "NOT"})
_ORDER = ("a value", "a constant", "a name", "a variable", "`,`", "`.`")


def expected_text(expected: frozenset[str]) -> str:
    """What could stand in a place, for people: a few words and not all terminals.

    >>> expected_text(frozenset({"COMMA", "RPAR"}))
    '`,` or `)`'
    """
    left, words = set(expected), set[str]()
    for group, word in _GROUPS:
        if group <= left:
            words.add(word)
            left -= group
            if word == "a value":
                left -= _PART_OF_VALUE
    if len(left) > 4:  # what continues an expression goes without saying
        words -= {"an operator", "a comparison"}
    words |= {_TERMINALS.get(terminal, f"`{terminal.lower()}`") for terminal in left}
    ordered = sorted(words, key=lambda word: (_ORDER.index(word) if word in _ORDER else len(_ORDER), word))
    if len(ordered) <= 1:
        return ordered[0] if ordered else "something else"
    return ", ".join(ordered[:-1]) + " or " + ordered[-1]

"""Facts that the user's script reports with `tcrules.emit`, and the settings of a command line."""

from __future__ import annotations

import json
import numbers
import re
from typing import TYPE_CHECKING

from tcrules.instrument.privacy import encodable
from tcrules.instrument.schema import BY_NAME, TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Value = int | float | bool | str
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
MAX_COLUMNS = 100


class BadFact(Exception):
    """A fact of the user cannot be recorded. The text quotes names, never values."""


def is_name(text: str) -> bool:
    """Whether relations and columns may be called so."""
    return _NAME.match(text) is not None


def check_fact(relation: str, columns: Mapping[str, object], step: int) -> dict[str, Value]:
    """Return the fact with plain values; `step` fills a column of that name which a schema relation asks for.

    Raises:
        BadFact: a name that is no identifier, too many columns, columns that the schema relation has not, or a value
            that is no bool, int, float or str (numpy scalars count as numbers).
    """
    if not isinstance(relation, str) or not is_name(relation):
        raise BadFact("a relation is named by lower-case letters, digits and _")
    if len(columns) > MAX_COLUMNS:
        raise BadFact(f"more than {MAX_COLUMNS} columns")
    fact: dict[str, Value] = {}
    for name, value in columns.items():
        if not is_name(name) or name in ("rank", "fact"):
            raise BadFact(f"{name!r} cannot be the name of a column")
        fact[name] = _plain(name, value)
    return _match_schema(relation, fact, step) if relation in BY_NAME else fact


def _plain(name: str, value: object) -> Value:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, numbers.Integral):
        number = int(value)
        if not -(2**63) <= number < 2**63:
            raise BadFact(f"{name}: integer beyond 64 bits")
        return number
    if isinstance(value, numbers.Real):
        return float(value)
    if type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise BadFact(f"{name}: {type(value).__name__} is no bool, int, float or str")


def _match_schema(relation: str, fact: dict[str, Value], step: int) -> dict[str, Value]:
    wanted = {
        column.name: TYPES[column.type] for column in BY_NAME[relation].columns if column.name != "rank"
    }
    if "step" in wanted:
        fact.setdefault("step", step)
    if set(fact) != set(wanted):
        raise BadFact(f"the columns are {', '.join(wanted)}")
    for name, kind in wanted.items():
        value = fact[name]
        if kind == "float" and isinstance(value, int):
            fact[name] = float(value)
        elif type(value).__name__ != {"string": "str"}.get(kind, kind):
            raise BadFact(f"{name}: {type(value).__name__}, but the column is of type {kind}")
    return {name: fact[name] for name in wanted}


def encode_fact(relation: str, fact: Mapping[str, Value]) -> bytes:
    """Return the line of `user.bin`; JSON with NaN and Infinity as Python writes them."""
    return (json.dumps([relation, fact]) + "\n").encode()


def settings(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return the flags of a command line as (key without dashes, value); a flag without value is "true".

    >>> settings(["python", "train.py", "--lr", "0.1", "--amp", "--seed=3", "-n", "-2"])
    [('lr', '0.1'), ('amp', 'true'), ('seed', '3'), ('n', '-2')]
    """
    found: list[tuple[str, str]] = []
    for index, word in enumerate(words):
        key, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or not key or re.fullmatch(r"[\d.].*", key):
            continue
        if not equals:
            following = words[index + 1] if index + 1 < len(words) else "-"
            is_value = not following.startswith("-") or re.fullmatch(r"-[\d.].*", following)
            value = following if is_value else "true"
        found.append((key, value))
    return found


def number_in(text: str) -> tuple[bool, float]:
    """Return whether a setting is a number, and which.

    >>> number_in("1e-3"), number_in("adam")
    ((True, 0.001), (False, 0.0))
    """
    try:
        number = float(text)
    except ValueError:
        return False, 0.0
    return (True, number) if number == number else (False, 0.0)

"""Python functions that are written line by line, then compiled together.

Nothing of a rule becomes text of a program: variables, tables and functions have numbered names, and every constant is
a value that the functions know by such a name. Rules of one shape have the same text, so it is compiled once for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import CodeType

    from tcrules.engine.live.scopes import Scope

#: Loops in one function; Python allows twenty blocks within each other.
MOST_LOOPS = 16


@dataclass(frozen=True, slots=True)
class End:
    """What a function does with each solution that it finds, and what it returns.

    `solution` writes the former, `last` is the statement that leaves the function. `through` hands on what another
    function finds, which is called at the braces. `collects`: solutions are put into a new dictionary, `found`.
    """

    solution: Callable[[Function, Scope], None]
    last: str
    through: str = "{}"
    collects: bool = False

    @property
    def rest(self) -> End:
        """The end of a function that goes on where one has too many loops."""
        return End(self.solution, "return") if self.collects else self


class Module:
    """Functions that call each other, and the values that they know by name."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._kept: dict[int, str] = {}
        self._variables: dict[str, str] = {}
        self._functions: list[Function] = []
        self._fresh = 0

    def function(self, end: End) -> Function:
        """A new function, without lines."""
        made = Function(self, f"f{len(self._functions)}", end)
        self._functions.append(made)
        return made

    def variable(self, name: str) -> str:
        """The Python name of a rule's variable."""
        return self._variables.setdefault(name, f"v{len(self._variables)}")

    def fresh(self) -> str:
        """A Python name that nothing else has."""
        self._fresh += 1
        return f"x{self._fresh}"

    def constant(self, value: object) -> str:
        """The Python name of a value, which is kept."""
        name = self._kept.setdefault(id(value), f"k{len(self._kept)}")
        self._values[name] = value
        return name

    def compiled(self, function: Function) -> Callable[..., Any]:
        """One of the functions, ready to be called with what its `parameters` stand for."""
        text = "\n".join(found.text() for found in self._functions)
        values = dict(self._values)
        exec(_code(text), values)
        made: Callable[..., Any] = values[function.name]
        return made


@lru_cache(maxsize=256)
def _code(text: str) -> CodeType:
    return compile(text, "<rule>", "exec")


class Function:
    """The lines of one function. `parameters`: the names that it reads and does not bind, which callers must have."""

    def __init__(self, module: Module, name: str, end: End) -> None:
        self.module, self.name, self.end = module, name, end
        self.parameters: dict[str, None] = {}
        self.loops = 0
        self._own: set[str] = set()
        self._lines: list[str] = []
        if end.collects:
            self.line(f"{self.bind('found')} = {{}}")

    # -------------------------------------------------------------------------------------------- names

    def read(self, name: str) -> str:
        """A Python name whose value is needed."""
        if name not in self._own:
            self.parameters[name] = None
        return name

    def bind(self, name: str) -> str:
        """A Python name that gets a value here."""
        self._own.add(name)
        return name

    def variable(self, name: str) -> str:
        """A rule's variable, to be read."""
        return self.read(self.module.variable(name))

    def bound(self, name: str) -> str:
        """A rule's variable, which gets its value here."""
        return self.bind(self.module.variable(name))

    def constant(self, value: object) -> str:
        """A value, by its Python name."""
        return self.module.constant(value)

    def call(self, other: Function) -> str:
        """The expression that calls another function, all of whose lines are written."""
        return f"{other.name}({', '.join(map(self.read, other.parameters))})"

    # -------------------------------------------------------------------------------------------- lines

    def line(self, text: str) -> None:
        """A statement."""
        self._lines.append(" " * (self.loops + 1) + text)

    def loop(self, names: str, over: str) -> None:
        """All that follows is done for each element."""
        self.line(f"for {names} in {over}:")
        self.loops += 1

    def need(self, conditions: Sequence[str]) -> None:
        """What follows is done only where all conditions are true."""
        if conditions:
            self.line(f"if not ({' and '.join(conditions)}): {'continue' if self.loops else self.end.last}")

    def columns(self, wanted: Mapping[int, str], width: int, over: str) -> None:
        """A loop over rows that gives names to columns."""
        if 4 * len(wanted) >= width:  # taking all apart costs less than four look-ups
            self.loop(f"({', '.join(wanted.get(at, '_') for at in range(width))},)", over)
            return
        self.loop("row", over)
        for at, name in wanted.items():
            self.line(f"{name} = row[{at}]")

    def text(self) -> str:
        """The whole function."""
        lines = [f"def {self.name}({', '.join(self.parameters)}):", *self._lines, f" {self.end.last}"]
        return "\n".join(lines)

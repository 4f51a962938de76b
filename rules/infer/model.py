"""Types that the stages of learning hand to each other: all frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from tcrules.engine.ir import Value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tcrules.rules.infer.update import Update

#: Values of metavariables or of guard variables, in the template's order.
Values: TypeAlias = tuple[Value, ...]


class InferError(Exception):
    """Nothing can be learned from these runs; `message` says why, `help` what the user can do.

    `dropped` are the candidates that did not become rules.
    """

    def __init__(self, message: str, help: str = "", dropped: tuple[Dropped, ...] = ()) -> None:
        super().__init__(f"{message}\nhelp: {help}" if help else message)
        self.dropped = dropped
        self.message = message
        self.help = help


@dataclass(frozen=True, slots=True)
class Shape:
    """What learning needs to know of a template.

    `bound` and `free` are its metavariables (name, type) that `each` binds and that only `expect` binds; `guard` its
    guard variables. `tags` are hints: `default` (a rule may be learned although its expectation never failed), `set`
    (several values of the free metavariable may be joined by `or`), `transitive` (A before B and B before C imply A
    before C), `once` (one trigger per run is support enough). `tier` is the severity of its rules.
    """

    id: str
    bound: tuple[tuple[str, str], ...]
    free: tuple[tuple[str, str], ...]
    guard: tuple[tuple[str, str], ...]
    tags: frozenset[str] = frozenset()
    tier: str = "warning"

    @property
    def default(self) -> bool:
        return "default" in self.tags

    @property
    def once(self) -> bool:
        return "once" in self.tags


@dataclass(frozen=True, slots=True)
class Counts:
    """Sufficient statistics of one template in one run.

    `triggers`: instances for each (bound metavalues, guard values); `held`: those for which the expectation holds,
    for each (bound metavalues, guard values, free metavalues). What is missing is 0.
    """

    triggers: Mapping[tuple[Values, Values], int] = field(default_factory=dict)
    held: Mapping[tuple[Values, Values, Values], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One run: `name` for people, `project` groups runs of one program, `counts` by id of the template.

    `settings` are what the command line and the script set, by name; `schema` is the version of its facts, `steps` the
    number of its optimizer steps (0 where not known), `path` its folder.
    """

    name: str
    project: str
    counts: Mapping[str, Counts]
    command: str = ""
    torch: str = ""
    complete: bool = True
    trains: bool = True
    schema: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    steps: int = 0
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Literal:
    """A condition on a guard variable: `variable op value`, op `=` or `!=`."""

    variable: str
    op: str
    value: Value


@dataclass(frozen=True, slots=True)
class Pattern:
    """A generalised name: a glob, `*` for every name."""

    glob: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A free metavariable with a few possible values."""

    values: Values


@dataclass(frozen=True, slots=True)
class Interval:
    """A free metavariable that counts levels of a number (`ranges.py`): from `low` to `high`, both included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Configured:
    """A free metavariable that equals what the run was configured with: the value of `config(key)`."""

    key: str


#: What a metavariable becomes.
Filling: TypeAlias = "Value | Pattern | Choice | Interval | Configured"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a rule is believed. It never failed.

    Attributes:
        runs: runs in which it triggered.
        triggers: its instances there.
        bindings: its distinct bindings there.
        projects: programs in which it triggered.
        left_out: rules of its kind that were learned without a run (or program) and triggered there; 0 where nothing
            could be left out.
        left_out_failed: those of them that failed there.
        risk: the estimated probability that it fails in another healthy run.
        mutations: injected faults that could concern it; `caught` those that it found.
        caught: how many of them it found.
    """

    runs: int
    triggers: int
    bindings: int = 1
    projects: int = 1
    left_out: int = 0
    left_out_failed: int = 0
    risk: float = 0.0
    mutations: int = 0
    caught: int = 0


@dataclass(frozen=True, slots=True)
class Learned:
    """A rule: the template's metavariables filled in, and conditions on its guard variables.

    `tier` is its severity: a rule that no injected fault makes fail is kept as a note.
    """

    template: str
    filling: tuple[tuple[str, Filling], ...]
    guard: tuple[Literal, ...]
    evidence: Evidence
    tier: str = "warning"

    def label(self) -> str:
        """The rule in a few words."""
        inside = ", ".join(f"{name}: {_shown(given)}" for name, given in self.filling)
        where = " and ".join(f"{one.variable} {one.op} {one.value}" for one in self.guard)
        return f"{self.template}({inside})" + (f" where {where}" if where else "")

    def key(self) -> str:
        """Text that identifies and orders rules."""
        return f"{self.template} {[(n, _text(f)) for n, f in self.filling]} {[repr(g) for g in self.guard]}"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A candidate that did not become a rule: the `stage` that dropped it, the `reason` with its figures, and the
    option that would `keep` it, where there is one.
    """

    rule: str
    reason: str
    stage: str = ""
    keep: str = ""


@dataclass(frozen=True, slots=True)
class Inferred:
    """`text` is a complete rule file; `dropped` says what was considered and rejected.

    `update` compares with the file that was learned before, where one was given.
    """

    text: str
    rules: int
    dropped: tuple[Dropped, ...] = ()
    warnings: tuple[str, ...] = ()
    update: Update | None = None


def _text(filling: Filling) -> str:
    return f"{type(filling).__name__} {filling!r}"


def _shown(filling: Filling) -> str:
    if isinstance(filling, Pattern):
        return filling.glob
    if isinstance(filling, Interval):
        return f"{filling.low} … {filling.high}"
    if isinstance(filling, Configured):
        return f"the configured {filling.key}"
    return " or ".join(map(str, filling.values)) if isinstance(filling, Choice) else str(filling)

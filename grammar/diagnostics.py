"""What is wrong with a rule file, as data: code, message, labelled places, notes and how to mend it.

`render.py` turns it into text; nothing here knows about terminals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tcrules.grammar.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tcrules.grammar.ast import Span

Severity = Literal["error", "warning"]

CODES: dict[str, str] = {
    # 1xx: syntax (grammar)
    "TCR101": "unexpected text",
    "TCR102": "string is not closed",
    "TCR103": "bracket is not closed",
    "TCR104": "bracket closes nothing",
    "TCR105": "character that no token starts with",
    "TCR106": "missing comma",
    "TCR107": "missing `.` at the end of a rule or fact",
    "TCR108": "lower-case word where a value is expected",
    "TCR109": "operator or mark of another language",
    "TCR110": "missing section",
    "TCR111": "section given twice",
    "TCR112": "invalid escape in a string",
    "TCR113": "number out of range",
    "TCR114": "positional and named arguments mixed",
    "TCR115": "unknown aggregate, or an aggregate without its value",
    "TCR116": "nested too deeply",
    "TCR117": "file too large",
    "TCR118": "statement in the wrong kind of file, or section in the wrong kind of statement",
    "TCR119": "malformed name",
    "TCR120": "fact or head with something that is not allowed there",
    "TCR121": "too many errors",
    "TCR122": "comment that looks like an integer division",
    "TCR123": "braces around a single alternative",
    "TCR124": "suppression without a reason",
    "TCR125": "bad date",
    # 2xx: names and types (engine)
    "TCR201": "unknown relation",
    "TCR202": "unknown column",
    "TCR203": "wrong number of arguments",
    "TCR204": "duplicate argument",
    "TCR205": "type mismatch",
    "TCR206": "unknown type",
    "TCR207": "unknown function",
    "TCR208": "unknown parameter",
    "TCR209": "duplicate definition",
    "TCR210": "head is an observed relation",
    "TCR211": "metavariable outside of a template",
    "TCR212": "import not found",
    "TCR213": "import cycle",
    "TCR214": "unknown annotation",
    "TCR215": "message names an unknown variable",
    "TCR216": "bad parameter value",
    "TCR217": "column that cannot be the best one",
    "TCR218": "variable that the rule does not have",
    "TCR219": "too many imports",
    # 3xx: safety and stratification (engine)
    "TCR301": "unsafe variable",
    "TCR302": "unstratified negation or aggregation",
    "TCR303": "wildcard not allowed",
    "TCR304": "variable used once",
    "TCR305": "unbound guard or about variable",
    "TCR306": "metavariable not bound",
    "TCR307": "aggregate value unsafe",
    "TCR308": "best value used in its own recursion where a better one may not do",
    "TCR309": "too many alternatives",
    # 4xx: use of rules: tests, suppressions
    "TCR401": "unknown rule",
    "TCR402": "rule test failed",
    "TCR403": "suppression that nothing needs",
    "TCR404": "suppression that has expired",
    "TCR405": "comment that should suppress, but cannot",
    # 5xx: sound rules that are hardly meant (engine, `tcrules lint`)
    "TCR501": "rule that can never fire",
    "TCR502": "part of a rule that can never hold",
    "TCR503": "condition that is always true",
    "TCR504": "guard that restricts nothing",
    "TCR505": "relation that nothing reads",
    "TCR506": "parameter that nothing reads",
    "TCR507": "import that nothing needs",
    "TCR508": "rule given twice",
    "TCR509": "rule of the library given again",
    # 7xx: settings (tcrules)
    "TCR701": "unknown setting",
    "TCR702": "bad value of a setting",
    "TCR703": "settings cannot be read",
}
"""Every code and its meaning in one line; the table in README.md is compared with it."""


@dataclass(frozen=True, slots=True)
class Label:
    """A place in a source, with what is to be said about it (may be empty)."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fault. The first label is the place of the fault; further ones point at what it conflicts with."""

    code: str
    severity: Severity
    message: str
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: str | None = None


class TcrError(Exception):
    """Rule text that cannot be used; carries all its faults and the sources needed to show them."""

    def __init__(self, diagnostics: Iterable[Diagnostic], sources: Mapping[str, str]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        self.sources: Mapping[str, str] = sources
        super().__init__(self.diagnostics, self.sources)

    def __str__(self) -> str:
        from tcrules.grammar.render import render

        return render(self.diagnostics, self.sources)


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` is most likely a misspelling of.

    >>> did_you_mean("optimiser_step", ["optimizer_step", "backward"])
    'optimizer_step'
    >>> did_you_mean("x", ["optimizer_step"]) is None
    True
    """
    if len(word) > 100:  # comparing is quadratic
        return None
    import difflib

    close = difflib.get_close_matches(word, sorted(candidates), n=1, cutoff=0.6)
    return close[0] if close else None

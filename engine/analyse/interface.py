"""What an invariant says beside its bodies: message, annotations, about, guard, step and rank."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tcrules.engine.analyse.faults import Faults, suggest
from tcrules.engine.analyse.lattice import UNKNOWN, describe
from tcrules.grammar import ast
from tcrules.instrument.schema import UNLEARNABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tcrules.engine import ir

SEVERITIES = ("error", "warning", "note")
ANNOTATIONS = (*SEVERITIES, "tags")
#: Types of the things that a violation can be about.
THINGS = frozenset(
    {"param", "buffer", "module", "optimizer", "scheduler", "scaler", "loader", "api", "group"}
)
#: `{{`, `}}`, or a name and a format in braces.
_FIELD = re.compile(r"\{\{|\}\}|\{([^{}:]*)(?::([^{}]*))?\}|[{}]")
_FORMATS = {
    "int": re.compile(r"[<>^]?[+,]?[0-9]{0,2}[dx]?"),
    "float": re.compile(r"[<>^]?[+,]?[0-9]{0,2}(\.[0-9]{1,2})?[efg%]?"),
    "bool": re.compile(r"[<>^]?[0-9]{0,2}"),
    "string": re.compile(r"[<>^]?[0-9]{0,2}s?"),
}


def fields(message: str) -> list[tuple[str, str]]:
    """Names and formats that a message mentions, in order; broken braces have the name "{".

    >>> fields("{{x}} {A} {B:.2f}")
    [('A', ''), ('B', '.2f')]
    """
    found = []
    for match in _FIELD.finditer(message):
        if match.group() in ("{", "}"):
            found.append(("{", ""))
        elif match.group(1) is not None:
            found.append((match.group(1).strip(), match.group(2) or ""))
    return found


def fill(message: str, values: Mapping[str, ir.Value]) -> str:
    """The message with the values of its variables.

    >>> fill("{{}} {A} {B:.2f}", {"A": True, "B": 0.5})
    '{} true 0.50'
    """

    def text(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return match.group()[0]
        value = values.get(match.group(1).strip(), match.group())
        if isinstance(value, bool):
            value = str(value).lower()
        return format(value, match.group(2) or "")

    return _FIELD.sub(text, message)


def mentioned(statement: ast.Invariant | ast.Template) -> set[str]:
    """Variables that message, about and guard name."""
    names = {name for name, _ in fields(statement.message or "")}
    names |= {variable.name for variable in statement.about}
    if isinstance(statement, ast.Template):
        names |= {variable.name for variable in statement.guard}
    return names


def check_interface(
    statement: ast.Invariant | ast.Template, visible: Mapping[str, ir.Type], faults: Faults
) -> None:
    """Report faults of message, about, guard and annotations; `visible` are the variables of `each`."""
    _check_annotations(statement, faults)
    _check_message(statement, visible, faults)
    for variable in statement.about:
        _check_variable(variable, "about", visible, faults)
    if isinstance(statement, ast.Template):
        for variable in statement.guard:
            _check_variable(variable, "guard", visible, faults)
            kind = visible.get(variable.name, UNKNOWN)
            _check_learnable(f"guard `{variable.name}`", kind, variable.span, faults)


def _check_variable(
    variable: ast.Variable, where: str, visible: Mapping[str, ir.Type], faults: Faults
) -> None:
    if variable.name not in visible:
        message = f"`{where}` names `{variable.name}`, which `each` does not bind"
        faults.error("TCR305", message, variable.span, mend=suggest(variable.name, visible))


def _check_learnable(what: str, kind: ir.Type, span: ast.Span, faults: Faults) -> None:
    if kind.name in UNLEARNABLE:
        notes = ("such values name a moment or a bit pattern of one run, not a property of training",)
        message = f"{what} is {describe(kind)}, over which no rule can be learned"
        faults.error("TCR205", message, span, notes=notes)


def check_metavariables(template: ast.Template, types: Mapping[str, ir.Type], faults: Faults) -> None:
    """Report metavariables that are declared twice or with a type that cannot be used."""
    seen: dict[str, ast.Span] = {}
    for meta in template.metavariables:
        if meta.name in seen:
            more = [(seen[meta.name], "first declared here")]
            faults.error("TCR209", f"metavariable `?{meta.name}` is declared twice", meta.span, more=more)
        seen[meta.name] = meta.span
        if meta.type not in types:
            faults.error("TCR206", f"unknown type `{meta.type}`", meta.span, mend=suggest(meta.type, types))
        else:
            _check_learnable(f"`?{meta.name}`", types[meta.type], meta.span, faults)


def _check_annotations(statement: ast.Invariant | ast.Template, faults: Faults) -> None:
    severities = []
    for annotation in statement.annotations:
        if annotation.name not in ANNOTATIONS:
            mend = suggest(annotation.name, ANNOTATIONS, "@") or f"known are @{', @'.join(ANNOTATIONS)}"
            faults.error("TCR214", f"unknown annotation `@{annotation.name}`", annotation.span, mend=mend)
        elif annotation.name in SEVERITIES:
            severities.append(annotation)
            if annotation.arguments:
                faults.error("TCR214", f"`@{annotation.name}` takes no arguments", annotation.span)
        elif not all(isinstance(tag, str) for tag in annotation.arguments) or not annotation.arguments:
            faults.error("TCR214", "`@tags` takes words, such as `@tags(optimizer)`", annotation.span)
    if len(severities) > 1:
        more = [(severities[0].span, "the first one")]
        faults.error("TCR214", f"`{statement.id}` has two severities", severities[1].span, more=more)


def _check_message(
    statement: ast.Invariant | ast.Template, visible: Mapping[str, ir.Type], faults: Faults
) -> None:
    if not statement.message:
        faults.error("TCR110", f"`{statement.id}` has no message", statement.span, mend='add `message "…"`')
    metas = {f"?{m.name}" for m in statement.metavariables} if isinstance(statement, ast.Template) else set()
    for name, form in fields(statement.message or ""):
        if name == "{":
            mend = "write `{{` or `}}` for a brace"
            faults.error("TCR215", "a brace in the message has no partner", statement.span, mend=mend)
        elif name not in visible and name not in metas:
            message = f"the message names `{name}`, which `each` does not bind"
            mend = suggest(name, visible) or f"known here: {', '.join(visible) or 'nothing'}"
            faults.error("TCR215", message, statement.span, mend=mend)
        elif form and name in visible:
            pattern = _FORMATS.get(visible[name].base)
            if pattern and not pattern.fullmatch(form):
                message = f"the format `{form}` does not fit `{name}`, a {describe(visible[name])}"
                faults.error("TCR215", message, statement.span)


# ------------------------------------------------------------------------------------------------ results


def severity(statement: ast.Invariant | ast.Template) -> str:
    """The severity; "warning" without an annotation."""
    found = [a.name for a in statement.annotations if a.name in SEVERITIES]
    return found[0] if found else "warning"


def tags(statement: ast.Invariant | ast.Template) -> tuple[str, ...]:
    """All words of `@tags`, in order."""
    words = [str(tag) for a in statement.annotations if a.name == "tags" for tag in a.arguments]
    return tuple(dict.fromkeys(words))


def about(statement: ast.Invariant | ast.Template, variables: Sequence[ir.Var]) -> tuple[ir.Var, ...]:
    """The variables that a violation is about: as written, else the things that the message names."""
    by_name = {variable.name: variable for variable in variables}
    if statement.about:
        return tuple(by_name[variable.name] for variable in statement.about)
    names = dict.fromkeys(name for name, _ in fields(statement.message or ""))
    return tuple(by_name[n] for n in names if n in by_name and by_name[n].type.name in THINGS)


def first_of_type(
    statement: ast.Invariant | ast.Template, variables: Sequence[ir.Var], kind: str
) -> ir.Var | None:
    """The first variable of a type that the message names, else the first one of that type."""
    fitting = [variable for variable in variables if variable.type.name == kind]
    named = {name for name, _ in fields(statement.message or "")}
    preferred = [variable for variable in fitting if variable.name in named]
    return next(iter(preferred or fitting), None)

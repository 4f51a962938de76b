"""IR as text, in the syntax of `.tcr`; variables with a value in `binding` are printed as that value."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.grammar.words import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcrules.engine.ir import Value

_NOTHING: Mapping[str, Value] = MappingProxyType({})
_INFIX = frozenset({"+", "-", "*", "/", "//", "%"})


def show_value(value: Value) -> str:
    """A constant.

    >>> show_value(True), show_value("a"), show_value(1.0)
    ('true', '"a"', '1.0')
    """
    if isinstance(value, str):
        return quote(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def show_expression(expression: ir.Expr, binding: Mapping[str, Value] = _NOTHING) -> str:
    """A term; conversions to float that analysis inserted are left out."""
    if isinstance(expression, ir.Const):
        return show_value(expression.value)
    if isinstance(expression, ir.Var):
        if expression.name in binding:
            return show_value(binding[expression.name])
        return expression.name.split("#")[0] or expression.name  # scopes tell `X#1` from `X` in the text, too
    arguments = [show_expression(argument, binding) for argument in expression.arguments]
    if expression.name in _INFIX:
        return f"({arguments[0]} {expression.name} {arguments[1]})"
    if expression.name == "neg":
        return f"-{arguments[0]}"
    if expression.name == "to_float" and expression.arguments[0].type.base == "int":
        return arguments[0]
    return f"{expression.name}({', '.join(arguments)})"


def show_atom(atom: ir.Atom, binding: Mapping[str, Value] = _NOTHING) -> str:
    """An atom with named arguments, without those that do not matter."""
    parts = []
    for column, term in zip(atom.predicate.columns, atom.arguments, strict=True):
        if not isinstance(term, ir.Any_):
            text = show_expression(term, binding)
            parts.append(text if column.name.startswith("$") else f"{column.name}: {text}")
        elif column.name.startswith("$"):
            parts.append("_")
    return f"{atom.predicate.name}({', '.join(parts)})"


def show_literal(literal: ir.Literal, binding: Mapping[str, Value] = _NOTHING) -> str:
    """Any literal on one line."""
    if isinstance(literal, ir.Atom):
        return show_atom(literal, binding)
    if isinstance(literal, ir.Compare):
        left, right = show_expression(literal.left, binding), show_expression(literal.right, binding)
        return f"{left} {literal.op} {right}"
    if isinstance(literal, ir.Bind):
        variable = show_expression(literal.variable, binding)
        return f"{variable} = {show_expression(literal.value, binding)}"
    if isinstance(literal, ir.Either):
        return f"{{ {_alternatives(literal, binding)} }}"
    body = _inner(literal.body, binding)
    if isinstance(literal, ir.Not):
        single = len(literal.body) == 1 and isinstance(literal.body[0], ir.Atom)
        return f"not {body}" if single else f"not {{ {body} }}"
    return f"{show_expression(literal.result, binding)} = {_aggregate(literal, binding)} {{ {body} }}"


def _aggregate(group: ir.Group, binding: Mapping[str, Value]) -> str:
    kind = "count" if group.kind == "distinct" else group.kind
    values = [show_expression(value, binding) for value in (group.value, group.key) if value is not None]
    return f"{kind}({', '.join(values)})" if values else kind


def _inner(body: ir.Body, binding: Mapping[str, Value]) -> str:
    """A body in braces of its own: a disjunction alone needs no further ones."""
    only = body[0] if len(body) == 1 else None
    return _alternatives(only, binding) if isinstance(only, ir.Either) else show_body(body, binding)


def _alternatives(either: ir.Either, binding: Mapping[str, Value]) -> str:
    return " or ".join(show_body(alternative, binding) for alternative in either.alternatives)


def show_body(body: ir.Body, binding: Mapping[str, Value] = _NOTHING) -> str:
    """A conjunction on one line."""
    return ", ".join(show_literal(literal, binding) for literal in body)


def show_fact(predicate: ir.Predicate, fact: ir.Fact) -> str:
    """A ground fact.

    >>> show_fact(ir.Predicate("p", (ir.Column("x", ir.Type("int", "int")),), True), (3,))
    'p(x: 3)'
    """
    terms = tuple(ir.Const(value, column.type) for value, column in zip(fact, predicate.columns, strict=True))
    return show_atom(ir.Atom(predicate, terms))


def show_rule(rule: ir.Rule) -> str:
    """A rule on one line."""
    body = f" :- {show_body(rule.body)}" if rule.body else ""
    return f"{show_atom(rule.head)}{body}."


def _variables(variables: tuple[ir.Var, ...]) -> str:
    return ", ".join(f"{variable.name}: {variable.type.name}" for variable in variables)


def show_invariant(invariant: ir.Invariant) -> str:
    """What analysis found out about an invariant, over several lines."""
    lines = [
        f"invariant {invariant.id} @{invariant.severity} ({_variables(invariant.variables)})",
        f"  each {show_body(invariant.each)}",
    ]
    lines += [f"  expect {show_body(alternative)}" for alternative in invariant.expect]
    lines += [
        f"  decided: {invariant.window.kind}"
        + (f" because of {w}" if (w := invariant.window.because) else ""),
        f"  needs: {', '.join(sorted(invariant.needs))}; watched: {', '.join(sorted(invariant.watched))}",
    ]
    return "\n".join(lines)


def show_program(program: ir.Program) -> str:
    """Strata, invariants and templates; what `tcrules show --stage ir` prints."""
    parts = []
    for number, stratum in enumerate(program.strata):
        title = f"// stratum {number}{' (recursive)' if stratum.recursive else ''}"
        parts.append("\n".join([title, *(show_rule(rule) for rule in stratum.rules)]))
    parts += [show_invariant(invariant) for invariant in program.invariants]
    for template in program.templates:
        title = f"template: bound {_variables(template.bound)}; free {_variables(template.free)}"
        parts.append(f"{title}; guard {_variables(template.guard)}\n{show_invariant(template.invariant)}")
    if program.suppressions:
        parts.append("\n".join(map(show_suppression, program.suppressions)))
    return "\n\n".join(parts)


def show_suppression(suppression: ir.Suppression) -> str:
    """A suppression as it is written, on one line."""
    given = ", ".join(f"{name}: {show_value(value)}" for name, value in suppression.bindings)
    until = f" until {quote(suppression.until)}" if suppression.until else ""
    which = f"{suppression.rule} ({given})" if given else suppression.rule
    return f"suppress {which} because {quote(suppression.reason)}{until}"

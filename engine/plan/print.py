"""A readable dump of a plan, for `tcrules show --stage plan`."""

from __future__ import annotations

from tcrules.engine.ir import Any_, Compare, Const, Expr, Op, Term, Var
from tcrules.engine.plan.plan import (
    AntiJoin,
    Difference,
    Extend,
    GroupBy,
    Join,
    Plan,
    Project,
    Scan,
    Select,
    SemiJoin,
    Union,
    Unit,
    Values,
    Version,
    children,
)

_INFIX = frozenset({"+", "-", "*", "/", "//", "%"})


def print_plan(plan: Plan) -> str:
    """One node a line, sources indented below; a shared node is printed once and then referred to by its number."""
    parents: dict[int, int] = {}
    _count_parents(plan, parents)
    lines: list[str] = []
    _print(plan, 0, lines, {key for key, count in parents.items() if count > 1}, {})
    return "\n".join(lines) + "\n"


def _count_parents(plan: Plan, parents: dict[int, int]) -> None:
    parents[id(plan)] = parents.get(id(plan), 0) + 1
    if parents[id(plan)] == 1:
        for child in children(plan):
            _count_parents(child, parents)


def _print(plan: Plan, depth: int, lines: list[str], shared: set[int], numbers: dict[int, int]) -> None:
    indent = "  " * depth
    if id(plan) in numbers:
        lines.append(f"{indent}see #{numbers[id(plan)]}")
        return
    mark = ""
    if id(plan) in shared and not isinstance(plan, Unit):
        numbers[id(plan)] = len(numbers) + 1
        mark = f"#{numbers[id(plan)]} "
    lines.append(f"{indent}{mark}{describe(plan)}")
    for child in children(plan):
        _print(child, depth + 1, lines, shared, numbers)


def describe(plan: Plan) -> str:
    """A node without its sources, in one line."""
    match plan:
        case Unit() | Union():
            return type(plan).__name__.lower()
        case Scan(predicate, terms, version):
            suffix = "" if version is Version.TOTAL else f" [{version.value}]"
            named = zip(predicate.columns, terms, strict=True)
            shown = [f"{column.name}: {_term(term)}" for column, term in named if not isinstance(term, Any_)]
            return f"scan {predicate.name}({', '.join(shown)}){suffix}"
        case Values(names, rows):
            return f"values ({_names(names)}), {len(rows)} bindings"
        case Join():
            return "join"
        case SemiJoin():
            return "semi-join"
        case Select(test=test):
            return f"select {_compare(test)}"
        case Extend(variable=variable, value=value):
            return f"extend {variable.name} = {_expression(value)}"
        case AntiJoin(tests=tests):
            return "anti-join" + "".join(f", {_compare(test)}" for test in tests)
        case GroupBy(by=by, kind=kind, over=over, result=result):
            values = [_expression(value) for value in (plan.value, plan.key) if value is not None]
            shown_value = f"({', '.join(values)})" if values else ""
            return f"group {result.name} = {kind}{shown_value} over ({_names(over)}) by ({_names(by)})"
        case Project(columns=names, distinct=distinct):
            return f"project ({_names(names)})" + (" distinct" if distinct else "")
        case Difference():
            return "difference"


def _names(variables: tuple[Var, ...]) -> str:
    return ", ".join(variable.name for variable in variables)


def _compare(test: Compare) -> str:
    return f"{_expression(test.left)} {test.op} {_expression(test.right)}"


def _term(term: Term) -> str:
    return "_" if isinstance(term, Any_) else _expression(term)


def _expression(expression: Expr) -> str:
    match expression:
        case Var(name):
            return name
        case Const(value):
            return repr(value)
        case Op(name, (left, right)) if name in _INFIX:
            return f"({_expression(left)} {name} {_expression(right)})"
        case Op(name, arguments):
            return f"{name}({', '.join(_expression(argument) for argument in arguments)})"

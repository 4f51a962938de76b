"""First pass: what is declared - types, relations with their columns, parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.analyse.faults import Faults, suggest
from tcrules.engine.analyse.lattice import UNKNOWN, Lattice, describe, shipped
from tcrules.engine.ir import Type
from tcrules.engine.values import FUNCTIONS, normalise
from tcrules.grammar import ast
from tcrules.grammar.ast import NOWHERE, Span, Value
from tcrules.grammar.records import dataclass
from tcrules.grammar.words import INT_MAX, INT_MIN
from tcrules.instrument.schema import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tcrules.instrument import schema


@dataclass(frozen=True, slots=True)
class SourceProgram:
    """One parsed rule file; `name` is its path or another label for messages."""

    name: str
    program: ast.Program


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation as far as declarations tell. A type None is found by inference."""

    name: str
    columns: tuple[str, ...]
    types: tuple[Type | None, ...]
    observed: bool
    span: Span | None = None
    best: str = ""


@dataclass(frozen=True, slots=True)
class Symbols:
    """What names mean. Parameters have their final values."""

    lattice: Lattice
    relations: Mapping[str, Relation]
    parameters: Mapping[str, Value]


def collect(
    programs: Sequence[SourceProgram],
    overrides: Mapping[str, ast.Constant],
    faults: Faults,
    recorded: Mapping[str, schema.Relation] = BY_NAME,
) -> Symbols:
    """The symbols of all files together, and the relations of recorded runs; files share one name space."""
    statements = [statement for source in programs for statement in source.program.statements]
    lattice = _types([s for s in statements if isinstance(s, ast.TypeDeclaration)], faults)
    rules = [s for s in statements if isinstance(s, ast.Rule)]
    declared = [s for s in statements if isinstance(s, ast.RelationDeclaration)]
    relations = _relations(declared, rules, lattice, faults, recorded)
    parameters = _parameters(statements, overrides, lattice, faults)
    _unknown_overrides(programs, overrides, parameters, faults)
    _unique_ids(statements, faults)
    return Symbols(lattice, relations, parameters)


def _types(declarations: list[ast.TypeDeclaration], faults: Faults) -> Lattice:
    start = shipped()
    types, parents = dict(start.types), dict(start.parents)
    known = {*types, *(declaration.name for declaration in declarations)}
    waiting = list(declarations)
    places: dict[str, Span] = {}
    while waiting:
        ready = [declaration for declaration in waiting if declaration.base in types]
        for declaration in ready or waiting:
            waiting.remove(declaration)
            name = declaration.name
            if name in types:
                _duplicate("type", name, declaration.span, places.get(name), faults)
                continue
            if not ready:
                why = "is not a type" if declaration.base not in known else "is defined by itself"
                message = f"`{declaration.base}` {why}"
                mend = suggest(declaration.base, types) or f"known types: {', '.join(types)}"
                faults.error("TCR206", message, declaration.span, mend=mend)
            places[name] = declaration.span
            types[name] = Type(name, types[declaration.base].base) if ready else UNKNOWN
            parents[name] = declaration.base
    return Lattice(types, parents)


def _duplicate(kind: str, name: str, span: Span, first: Span | None, faults: Faults) -> None:
    more = [(first, "first defined here")] if first is not None else []
    notes = () if first is not None else (f"`{name}` is defined by the schema of recorded runs",)
    faults.error("TCR209", f"{kind} `{name}` is defined twice", span, "defined again", more=more, notes=notes)


def _relations(
    declared: list[ast.RelationDeclaration],
    rules: list[ast.Rule],
    lattice: Lattice,
    faults: Faults,
    recorded: Mapping[str, schema.Relation],
) -> dict[str, Relation]:
    found = {
        name: Relation(
            name, relation.column_names(), tuple(lattice.types[c.type] for c in relation.columns), True
        )
        for name, relation in recorded.items()
    }
    heads: dict[str, list[ast.Atom]] = {}
    for rule in rules:
        heads.setdefault(rule.head.relation, []).append(rule.head)
    for declaration in declared:
        relation = _declared(declaration, declaration.name not in heads, lattice, faults)
        earlier = found.get(relation.name)
        if earlier is None:
            found[relation.name] = relation
        elif (earlier.columns, earlier.types, earlier.best) != (
            relation.columns,
            relation.types,
            relation.best,
        ):
            _duplicate("relation", relation.name, declaration.span, earlier.span, faults)
        if relation.name in FUNCTIONS:
            faults.error("TCR209", f"`{relation.name}` is a built-in function", declaration.span)
    for name, atoms in heads.items():
        if name not in found:
            found[name] = _undeclared(name, atoms)
            if name in FUNCTIONS:
                faults.error("TCR209", f"`{name}` is a built-in function", atoms[0].span)
        elif name in recorded:
            for atom in atoms:
                _observed_head(atom, faults)
    return found


def _observed_head(atom: ast.Atom, faults: Faults) -> None:
    notes = ("facts of this relation come from a recorded run; rules may only read them",)
    mend = "derive a relation with another name"
    message = f"`{atom.relation}` cannot be derived"
    faults.error("TCR210", message, atom.span, "this relation is observed", notes=notes, mend=mend)


def _declared(
    declaration: ast.RelationDeclaration, observed: bool, lattice: Lattice, faults: Faults
) -> Relation:
    names: list[str] = []
    types: list[Type | None] = []
    for column in declaration.columns:
        if column.name in names:
            faults.error("TCR209", f"column `{column.name}` is defined twice", column.span)
            continue
        names.append(column.name)
        types.append(known_type(column.type, column.span, lattice, faults))
    best = _best(declaration, types[-1] if types else None, observed, faults)
    return Relation(declaration.name, tuple(names), tuple(types), observed, declaration.span, best)


def _best(declaration: ast.RelationDeclaration, last: Type | None, observed: bool, faults: Faults) -> str:
    """Which value of its last column the relation keeps; "" if it keeps all facts."""
    for column in declaration.columns[:-1]:
        if column.best:
            message = f"`{column.best}` on a column that is not the last one"
            mend = f"move `{column.name}` to the end: of facts that differ only there one is kept"
            faults.error("TCR217", message, column.span, mend=mend)
    best = declaration.columns[-1].best if declaration.columns else ""
    if best and observed:
        notes = ("facts that are observed are kept as they are",)
        message = f"no rule derives `{declaration.name}`, so it cannot keep the best facts"
        mend = f"derive it, or ask for `{best}(V) {{ {declaration.name}(…) }}` where you need it"
        faults.error("TCR217", message, declaration.columns[-1].span, notes=notes, mend=mend)
    elif best and last is not None and last.base not in ("int", "float", "?"):
        message = f"`{best}` needs numbers, not {describe(last)}"
        faults.error("TCR217", message, declaration.columns[-1].span, mend=f"leave out `{best}`")
    return best


def known_type(name: str, span: Span, lattice: Lattice, faults: Faults) -> Type:
    """The type called `name`; an unknown one is reported and goes with everything."""
    found = lattice.types.get(name)
    if found is None:
        mend = suggest(name, lattice.types) or f"known types: {', '.join(lattice.types)}"
        faults.error("TCR206", f"unknown type `{name}`", span, mend=mend)
    return found or UNKNOWN


def _undeclared(name: str, heads: list[ast.Atom]) -> Relation:
    """Columns are called as in the first head with named arguments; without one they are positions only."""
    named = [head for head in heads if head.arguments and head.arguments[0].name is not None]
    head = (named or heads)[0]
    columns = tuple(argument.name or f"${at}" for at, argument in enumerate(head.arguments))
    return Relation(name, columns, (None,) * len(columns), False, head.span)


# ------------------------------------------------------------------------------------------------ parameters


def _parameters(
    statements: Sequence[ast.Statement],
    overrides: Mapping[str, ast.Constant],
    lattice: Lattice,
    faults: Faults,
) -> dict[str, Value]:
    values: dict[str, Value] = {}
    places: dict[str, Span] = {}
    for statement in statements:
        if not isinstance(statement, ast.ParameterDeclaration):
            continue
        if statement.name in places:
            _duplicate("parameter", statement.name, statement.span, places[statement.name], faults)
            continue
        places[statement.name] = statement.span
        kind = known_type(statement.type, statement.span, lattice, faults)
        values[statement.name] = _fitting(statement.name, statement.default, kind, statement.span, faults)
        if statement.name in overrides:
            values[statement.name] = _override(statement, overrides[statement.name], kind, faults)
    return values


_NEUTRAL: dict[str, Value] = {"int": 0, "float": 0.0, "bool": False, "string": ""}


def _fitting(name: str, value: Value, kind: Type, span: Span, faults: Faults) -> Value:
    if kind.base == "float" and type(value) is int:
        return float(value)
    if kind != UNKNOWN and not _is_of(value, kind.base):
        message = f"{value!r} is no value for the parameter `{name}`"
        faults.error("TCR216", message, span, f"its type is {kind.name}")
        return _NEUTRAL[kind.base]
    return normalise(value)


def _is_of(value: Value, base: str) -> bool:
    return type(value).__name__ == base.replace("string", "str")


def _override(
    declaration: ast.ParameterDeclaration, given: ast.Constant, kind: Type, faults: Faults
) -> Value:
    """The value that somebody sets a parameter to; its place is where that was said, if that is known."""
    name, value, base = declaration.name, given.value, kind.base
    if given.span == NOWHERE:
        return _fitting(name, value, kind, declaration.span, faults)
    why = mend = None
    if type(value) is int and not INT_MIN <= value <= INT_MAX:
        why = "integers have 64 bits"
    elif kind != UNKNOWN and not _is_of(value, base) and (base, type(value)) != ("float", int):
        why = f"its type is {kind.name}"
        quoted = f"write a string in double quotes, within the quotes of a shell: `'{name}=\"…\"'`"
        mend = quoted if base == "string" else None
    if why is None:
        return _fitting(name, value, kind, declaration.span, faults)
    message = f"{value!r} is no value for the parameter `{name}`"
    more = [(declaration.span, "declared here")]
    faults.error("TCR216", message, given.span, why, more=more, mend=mend)
    return _NEUTRAL.get(base, 0)


def _unknown_overrides(
    programs: Sequence[SourceProgram],
    overrides: Mapping[str, ast.Constant],
    known: Mapping[str, Value],
    faults: Faults,
) -> None:
    for name, given in overrides.items():
        if name not in known:
            source = programs[0].name if programs else "<parameters>"
            place = Span(source, 0, 0, 1, 1) if given.span == NOWHERE else given.span
            message = f"no rule file has a parameter `{name}`"
            faults.error("TCR208", message, place, mend=suggest(name, known))


# ------------------------------------------------------------------------------------------------ ids


def _with_ids(statements: Sequence[ast.Statement]) -> Iterator[ast.Invariant | ast.Template]:
    for statement in statements:
        if isinstance(statement, ast.Invariant | ast.Template):
            yield statement


def _unique_ids(statements: Sequence[ast.Statement], faults: Faults) -> None:
    places: dict[str, Span] = {}
    for statement in _with_ids(statements):
        if statement.id in places:
            kind = "invariant" if isinstance(statement, ast.Invariant) else "template"
            _duplicate(kind, statement.id, statement.span, places[statement.id], faults)
        places.setdefault(statement.id, statement.span)

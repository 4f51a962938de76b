"""Random syntax trees: every node, every odd name, comments everywhere that they may stand."""

from __future__ import annotations

import math

from hypothesis import strategies as st
from tcrules.grammar import ast
from tcrules.grammar.words import BOOLEAN_FUNCTIONS, INT_MAX, INT_MIN

# Words of the language that are plain names wherever a name stands.
_WORDS = (
    *(
        "step",
        "call",
        "message",
        "expect",
        "rank",
        "count",
        "min",
        "max",
        "sum",
        "mean",
        "group",
        "param",
        "type",
    ),
    *("relation", "index", "test", "held", "each", "import", "invariant", "template", "guard", "about", "or"),
    *("suppress", "because", "until"),
    *("forbid", "facts", "violated", "true", "inf", "nan", "false", "unknown", "unrecorded"),
)

names = st.one_of(st.sampled_from(_WORDS), st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)).filter(
    lambda name: name != "not"
)
ids = st.from_regex(r"[a-z][a-z0-9]{0,4}(-[a-z0-9]{1,4}){0,2}", fullmatch=True)
variable_names = st.from_regex(r"[A-Z][A-Za-z0-9_]{0,4}", fullmatch=True)
variables = st.builds(ast.Variable, variable_names)
comment_texts = st.text(max_size=12).map(lambda text: text.replace("\n", " ").rstrip())
comments = st.lists(comment_texts, max_size=2).map(tuple) | st.just(())
values = st.one_of(
    st.booleans(),
    st.integers(INT_MIN, INT_MAX),
    st.integers(-3, 3),
    st.floats(allow_nan=False),
    st.just(math.nan),
    st.text(max_size=8),
)


def _tuples(items: st.SearchStrategy, low: int, high: int) -> st.SearchStrategy:
    return st.lists(items, min_size=low, max_size=high).map(tuple)


_leaves = st.one_of(
    variables,
    st.builds(ast.MetaVariable, variable_names),
    st.just(ast.Wildcard()),
    st.builds(ast.Parameter, names),
    st.builds(ast.Constant, values),
)


def _arguments(expression: st.SearchStrategy) -> st.SearchStrategy:
    named = st.builds(ast.Argument, names, expression)
    positional = st.builds(ast.Argument, st.none(), expression)
    return _tuples(named, 0, 3) | _tuples(positional, 0, 3)


def _is_written(atom: ast.Atom) -> bool:
    """A positional atom with the name of a boolean function is that function."""
    return atom.relation not in BOOLEAN_FUNCTIONS or any(argument.name for argument in atom.arguments)


def _atoms(expression: st.SearchStrategy) -> st.SearchStrategy:
    return st.builds(ast.Atom, names, _arguments(expression), comments=comments).filter(_is_written)


def _literals(expression: st.SearchStrategy) -> st.SearchStrategy:
    operators = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
    simple = st.one_of(
        _atoms(expression),
        st.builds(ast.Comparison, operators, expression, expression, comments=comments),
        st.builds(ast.Test, expression, comments=comments),
    )
    either = st.builds(ast.Disjunction, _tuples(_tuples(simple, 1, 2), 2, 3), comments=comments)
    inner = simple | st.builds(
        ast.Disjunction, _tuples(_tuples(simple | either, 1, 2), 2, 2), comments=comments
    )
    return inner | either | st.builds(ast.Negation, _tuples(inner, 1, 2), comments=comments)


def _grow(inner: st.SearchStrategy) -> st.SearchStrategy:
    bodies = _tuples(_literals(inner), 1, 2)
    functions = names | st.sampled_from(sorted(BOOLEAN_FUNCTIONS))
    return st.one_of(
        st.builds(ast.Operation, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner, inner),
        st.builds(ast.Negative, inner),
        st.builds(ast.Apply, functions, _tuples(inner, 0, 2)),
        st.builds(ast.Aggregate, st.just("count"), st.none(), bodies),
        st.builds(ast.Aggregate, st.sampled_from(["count", "sum", "min", "max", "mean"]), inner, bodies),
        st.builds(ast.Aggregate, st.sampled_from(["arg_min", "arg_max"]), inner, bodies, key=inner),
    )


expressions = st.recursive(_leaves, _grow, max_leaves=6)
literals = _literals(expressions)
bodies = _tuples(literals, 1, 3)
heads = st.builds(ast.Atom, names, _arguments(expressions)).filter(
    lambda atom: atom.relation not in BOOLEAN_FUNCTIONS
)
annotations = st.builds(ast.Annotation, ids, _tuples(values | ids | names, 0, 2))
_docs = st.lists(comment_texts, max_size=2).map(tuple)
_block = {
    "each": bodies,
    "expect": _tuples(bodies, 1, 2) | st.just(((ast.Test(ast.Constant(False)),),)),
    "about": _tuples(variables, 0, 2),
    "message": st.none() | st.text(max_size=12),
    "annotations": _tuples(annotations, 0, 2),
    "doc": _docs,
    "comments": comments,
}
imports = st.builds(ast.Import, st.text(max_size=8), comments=comments)
statements = st.one_of(
    imports,
    st.builds(ast.TypeDeclaration, names, names, doc=_docs, comments=comments),
    st.builds(
        ast.RelationDeclaration,
        names,
        _tuples(
            st.builds(ast.ColumnDeclaration, names, names, best=st.sampled_from(["", "min", "max"])), 0, 4
        ),
        doc=_docs,
        comments=comments,
    ),
    st.builds(ast.ParameterDeclaration, names, names, values, doc=_docs, comments=comments),
    st.builds(ast.Rule, heads, _tuples(literals, 0, 3), doc=_docs, comments=comments),
    st.builds(ast.Invariant, ids, **_block),
    st.builds(
        ast.Template,
        ids,
        _tuples(st.builds(ast.MetaDeclaration, variable_names, names), 1, 2),
        guard=_tuples(variables, 0, 2),
        **_block,
    ),
)
_suppressions = st.builds(
    ast.Suppression,
    ids,
    st.lists(st.builds(ast.Binding, variable_names, values), max_size=3).map(tuple),
    st.text(min_size=1, max_size=60).filter(str.strip),
    st.none() | st.dates().map(str),
    doc=_docs,
    comments=comments,
)
statements |= _suppressions
programs = st.builds(ast.Program, _tuples(statements, 0, 4), trailing=comments)

_constants = st.builds(ast.Constant, values)
_expectations = st.builds(ast.Expectation, st.sampled_from(["held", "vacuous", "unknown"]), ids) | st.builds(
    ast.Expectation, st.just("violated"), ids, _tuples(st.tuples(variable_names, values), 0, 2)
)
_cases = st.builds(
    ast.TestCase,
    st.text(max_size=8),
    _tuples(_atoms(_constants).filter(lambda atom: atom.relation not in BOOLEAN_FUNCTIONS), 0, 3),
    _tuples(names, 0, 2),
    _tuples(_expectations, 0, 3),
    comments=comments,
)
test_files = st.builds(ast.TestFile, _tuples(imports, 0, 2), _tuples(_cases, 0, 2), trailing=comments)

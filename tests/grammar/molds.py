"""Rule files in which statements of few shapes occur many times, sound and faulty, for tests of molds."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_SOUND = (
    "edge({int}, {int}).\n",
    "edge({int}, {int}). edge({int},{int}).\n",
    'named("{word}", {float}).\n',
    "near(X, Y) :- named(X, V), named(Y, W), abs(V - W) < {float}, W > -{float}.\n",
    "far(X) :- edge(X, Y), Y > {int}, X != -{int} , not edge(Y, {int}).\n",
    "sums(N) :- edge(N, _), N = {int} + {int} * {int}.\n",
    'glo(X) :- named(X, _), glob("{word}*", X), matches("{pattern}", X).\n',
    "half(X) :- edge(X, Y), Y = X//2 + $limit.\n",
    "invariant r-{id} @error @tags(learned, x) {{\n"
    '    each    edge(X, Y), Y < {int}\n    expect  named(Z, {float}), Z != "{word}"\n'
    '    message "{text} {{X}} {text}"\n}}\n',
    "/// {text}\n///\n/// why: {int}\ninvariant s-{id} {{\n    each    named(A, V), N = count {{ edge(X, {int}) }},\n"
    '            A = "{word}",\n            V < {float}\n    expect  not edge(N, {int}) or V = {float}\n'
    '    about   A\n    message "{{A}} {{V:.2f}} {text}"\n}}\n',
    'invariant t-{id} {{ forbid edge(X, {int}), X >= {int} message "{text}{{X}}" }}\n',
    "// {text}\n"
    'invariant u-{id} {{\n    each    edge(X, {int}) // {text}\n    expect  edge(X, X)\n    message "{{X}}"\n}}\n',
    '// {text}\ninvariant v-{id} {{\n    each    call(call: C, api: "{word}", step: S), S > {int}\n'
    '    expect  not {{ call(parent: C, api: "{word}") }}\n    message "{{S}}"\n}} // {text}\n',
)
_NEW = (
    'mix(X) :- edge(X, Y), {{ Y = {int} or Y > {int}, X != {int} or named("{word}", {float}) }}.\n',
    "mix(X) :- edge(X, {int}) or edge({int}, X), X < {int}.\n",
    "quiet(X) :- edge(X, _), not {{ edge(X, {int}) or edge({int}, X), X > {int} }}.\n",
    'kinds(N) :- N = count(V) {{ named(X, V), V > {float}, X != "{word}" }}.\n',
    "sumkinds(N) :- N = count(X + {int}) {{ edge(X, Y), Y < {int} or edge(Y, X) }} - {int}.\n",
    "top(X) :- X = arg_max(A, V + {float}) {{ named(A, V), V < {float} }}.\n",
    "low(X) :- edge(X, _), X = arg_min({int}, Y) {{ edge(X, Y), Y > {int} }}.\n",
    "cost(X, {float}) :- edge(X, {int}).\n",
    "cost(Y, D + {float}) :- cost(X, D), edge(X, Y), D < {float}.\n",
    "cost(Y, min_of(D + 1.0, {float})) :- cost(X, D), edge(X, Y), Y != {int}.\n",
    'cut(slice(X, {int}, length(X) - {int})) :- named(X, _), index_of(X, "{word}") > {int}.\n',
    'parts(X, count_parts(X, "{word}")) :- named(X, _), split_part(X, "{word}", -{int}) = "{word}".\n',
    'fixed({int}) :- N = index_of("{word}", "{word}"), N < {int}.\n',
    'fixed(N) :- N = count_parts(slice("{word}", {int}, -{int}), "{word}").\n',
    'fixed(N) :- N = length(concat("{word}", lower("{word}"))), {{ N > {int} or N = {int} + {int} }}.\n',
    "invariant z-{id} {{\n    each    edge(X, Y), {{ X > {int} or Y = {int} }}\n"
    '    expect  {{ edge(Y, {int}) or X = {int} }}, Y < {int} or named("{word}", {float})\n'
    '    message "{text} {{X}}"\n}}\n',
    'suppress known (X: {int}) because "{text}"\n',
    'suppress known (A: "{word}", X: {int}) because "{text}" until "{date}"\n',
    '/// {text}\nsuppress known because "{word}" // {text}\n',
)
_SOUND += _NEW
_FAULTY = (
    "cost(Y, D - {float}) :- cost(X, D), edge(X, Y), D > {float}.\n",
    "mix(X, Z) :- edge(X, Y), {{ Y = {int} or Z > {int} }}.\n",
    "top(X) :- X = arg_max(A) {{ named(A, V), V < {float} }}.\n",
    'suppress unknown (X: {int}) because "{text}"\n',
    'suppress known (X: "{word}", Q: {float}) because ""\n',
    'edge({int}, "{word}").\n',
    'named("{word}").\n',
    "lost({int}, X) :- edge(X Y).\n",
    "far(X) :- edge(X, Y), Z > {int}.\n",
    'glo(X) :- named(X, _), matches("[{pattern}", X).\n',
    "invariant w-{id} {{\n    each    edge(X, Once), X > {int}\n"
    '    expect  edge(X, {int})\n    message "{{X}} {text}"\n}}\n',
    "invariant x-{id} {{\n    each    edge(X, X), X > {float}\n"
    '    expect  edge(X, {int})\n    message "{{Y}} {text}"\n}}\n',
    'invariant same {{\n    each    edge(X, X), X > {int}\n    expect  edge(X, {int})\n    message "{{X}}"\n}}\n',
    "invariant y-{id} {{\n    each    edge(X, X), X > {int}\n",
)
_HEAD = "relation edge(a: int, b: int)\nrelation named(a: string, b: float)\nparam limit: int = 3\n"
_HEAD += "relation cost(at: int, length: min float)\ncost(0, 0.0).\n"
_HEAD += 'invariant known {\n    each    edge(X, _), named(A, _)\n    expect  edge(_, X)\n    message "{X} {A}"\n}\n'
_INT = st.one_of(
    st.integers(0, 20).map(str),
    st.sampled_from(["007", "9223372036854775807", "9223372036854775808", "1" * 30]),
)
_FLOAT = st.one_of(
    st.floats(0, 1e6).map(repr),
    st.sampled_from(["0.0", "1e3", "1.5e-3", "2.5e+7", "1e999", "inf", "nan", "3"]),
)
_WORD = st.one_of(
    st.text("abXY#._-*é ", max_size=6),
    st.sampled_from(["\\\\", "\\n", "\\q", "//", "\t", "x//2", "{", "mold-1"]),
)
_TEXT = st.one_of(st.text("ab. é", max_size=8), st.sampled_from(["{{", "a }} b", "3 // 4"]))


@st.composite
def _statement(draw: st.DrawFn, shapes: tuple[str, ...], number: int) -> str:
    shape = draw(st.sampled_from(shapes))
    parts = []
    for part in shape.replace("{{", "\1").replace("}}", "\2").split("{"):
        name, closed, rest = part.partition("}")
        parts.append(_filled(draw, name, number) + rest if closed else part)
    return "".join(parts).replace("\1", "{").replace("\2", "}")


def _filled(draw: st.DrawFn, hole: str, number: int) -> str:
    if hole == "id":
        return f"{draw(st.sampled_from(['a', 'b-c', '3']))}-{number}"
    kinds = {
        "int": _INT,
        "float": _FLOAT,
        "word": _WORD,
        "text": _TEXT,
        "date": st.sampled_from(["2027-01-31", "2026-02-30", "2028-02-29"]),
        "pattern": st.sampled_from(["a+", "b", "x.*"]),
    }
    return draw(kinds[hole])


@st.composite
def files(draw: st.DrawFn, *, faulty: bool) -> str:
    """A rule file; a few shapes in it occur often."""
    everything = _SOUND + (_FAULTY if faulty else ())
    shapes = tuple(draw(st.lists(st.sampled_from(everything), min_size=1, max_size=3, unique=True)))
    count = draw(st.integers(2, 9))
    separator = draw(st.sampled_from(["", "", "\n", "// c\n", " "]))
    return _HEAD + separator.join(draw(_statement(shapes, number)) for number in range(count))


def assert_same(one: Any, other: Any, path: str = "") -> None:
    """Equal, and of equal types, with equal spans."""
    assert type(one) is type(other), path
    if isinstance(one, tuple):
        assert len(one) == len(other), path
        for place, (first, second) in enumerate(zip(one, other, strict=True)):
            assert_same(first, second, f"{path}[{place}]")
    elif hasattr(one, "__match_args__"):
        for name in one.__match_args__:
            assert_same(getattr(one, name), getattr(other, name), f"{path}.{name}")
    else:
        assert repr(one) == repr(other), path

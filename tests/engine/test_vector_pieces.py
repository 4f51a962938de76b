"""Pieces of the NumPy executor: words, keys, joins, relations, limits, and the choice of a store."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tcrules.engine.analyse import analyse, load_text
from tcrules.engine.duckdb_store import DuckDBStore
from tcrules.engine.ir import Any_, Atom, Program, Type, Var
from tcrules.engine.naive import EvaluationLimit
from tcrules.engine.recorded import CODED, open_store
from tcrules.engine.store import StoreFault
from tcrules.engine.values import normalise, order_key
from tcrules.engine.vector import VectorStore
from tcrules.engine.vector.index import index_rows, pairs, sorting
from tcrules.engine.vector.keys import DenseTable, HashTable, Packer, ranges_of
from tcrules.engine.vector.relation import Best, Derived
from tcrules.engine.vector.words import Texts, decode, encode
from tcrules.grammar.limits import Limits

quick = settings(deadline=None, max_examples=50)
words = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 300)


def array(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


# ------------------------------------------------------------------------------------------------ words


@quick
@given(st.lists(st.floats() | st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan])))
def test_words_of_floats_are_ordered_as_floats(values: list[float]) -> None:
    texts = Texts()
    coded = encode(values, "float", texts)
    assert decode(coded, "float", texts) == [normalise(value) for value in values]
    by_word = [values[at] for at in np.argsort(coded, kind="stable")]
    assert list(map(order_key, map(normalise, by_word))) == sorted(map(order_key, map(normalise, values)))


def test_every_nan_is_one_word() -> None:
    odd = struct.unpack("<d", struct.pack("<Q", 0xFFF8000000000123))[0]
    assert len(set(encode([math.nan, -math.nan, odd], "float", Texts()).tolist())) == 1


@quick
@given(st.lists(st.text()))
def test_texts_come_back_and_are_ranked_by_code_points(values: list[str]) -> None:
    texts = Texts()
    coded = encode(values, "string", texts)
    assert decode(coded, "string", texts) == values
    ranked = sorted(zip(texts.ranks().take(coded).tolist(), values, strict=True))
    assert [text for _, text in ranked] == sorted(values)


# ------------------------------------------------------------------------------------------------ keys


@quick
@given(st.lists(st.lists(st.integers(0, 2**20 - 1), max_size=400), max_size=6), st.booleans())
def test_tables_number_keys_as_they_come(batches: list[list[int]], dense: bool) -> None:
    table = DenseTable(20) if dense else HashTable()
    numbers: dict[int, int] = {}
    for batch in batches:
        new = table.add(array(batch)).tolist()
        assert sorted(new) == sorted(set(batch) - set(numbers))
        numbers |= {key: len(numbers) + place for place, key in enumerate(new)}
        assert table.count == len(numbers)
        asked = [*batch, 1, 2, 3]
        assert table.find(array(asked)).tolist() == [numbers.get(key, -1) for key in asked]


@quick
@given(st.lists(st.integers(0, 2**61), unique=True, max_size=300))
def test_a_filled_table_numbers_keys_in_their_order(keys: list[int]) -> None:
    table = HashTable()
    table.fill(array(keys))
    assert table.find(array(keys)).tolist() == list(range(len(keys)))
    assert table.find(array([-7])).tolist() == [-1]


@quick
@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.tuples(*[words] * n), min_size=1, max_size=60)))
def test_packed_rows_come_back(rows: list[tuple[int, ...]]) -> None:
    columns = [array(list(column)) for column in zip(*rows, strict=True)]
    packer = Packer.for_ranges(ranges_of(columns))
    keys = packer.pack(columns, len(rows))
    assert len(set(keys.tolist())) == len(set(rows))
    assert list(zip(*(column.tolist() for column in packer.unpack(keys)), strict=True)) == rows
    other = [(value ^ 1 for value in row) for row in rows]
    probe, inside = packer.probe([array(list(column)) for column in zip(*other, strict=True)], len(rows))
    known = dict(zip(keys.tolist(), rows, strict=True))
    for place, row in enumerate(rows):
        wanted = tuple(value ^ 1 for value in row)
        found = (inside is None or bool(inside[place])) and known.get(int(probe[place])) == wanted
        assert found == (wanted in set(rows))


# ------------------------------------------------------------------------------------------------ joins


@quick
@given(st.lists(st.tuples(words, words), max_size=60), st.lists(words, max_size=60), st.integers(1, 9))
def test_joins_find_all_pairs_in_pieces(right: list[tuple[int, int]], left: list[int], most: int) -> None:
    columns = [array([row[0] for row in right]), array([row[1] for row in right])]
    index = index_rows(columns, [0], len(right))
    first, counts = index.find([array(left)], len(left))
    found = []
    for rows, places in pairs(first, counts, most):
        numbers = range(len(left)) if isinstance(rows, slice) else rows.tolist()
        found += [
            (left[at], value)
            for at, value in zip(numbers, index.columns[1].take(places).tolist(), strict=True)
        ]
    assert sorted(found) == sorted((key, value) for key in left for at, value in right if at == key)


@pytest.mark.parametrize("universe", [10, 70_000, 2**40])
def test_sorting_is_stable_for_universes_of_all_sizes(universe: int) -> None:
    keys = np.random.RandomState(1).randint(0, universe, 5_000)
    assert sorting(keys, universe).tolist() == np.argsort(keys, kind="stable").tolist()


# ------------------------------------------------------------------------------------------------ relations


def test_a_derived_relation_survives_growing_ranges() -> None:
    relation, known = Derived(2), set()
    for round_ in range(1, 70):
        rows = [(3**round_ % 2**60, -(2**round_) % 2**59 - 2**58), (1, 1)]
        relation.add([array([row[0] for row in rows]), array([row[1] for row in rows])], 2)
        before = len(known)
        known.update(rows)
        assert relation.advance(round_) == len(known) - before
    found = list(zip(*(column.tolist() for column in relation.columns()), strict=True))
    assert len(found) == len(known) and set(found) == known
    assert relation.numbers()[-1] == 69


@pytest.mark.parametrize(("direction", "choose"), [("min", min), ("max", max)])
def test_the_best_word_of_each_row_is_kept(direction: str, choose) -> None:
    relation, best = Best(2, direction), {}
    random = np.random.RandomState(3)
    for round_ in range(1, 30):
        keys, values = random.randint(-50, 50 * round_, 40), random.randint(-1000, 1000, 40)
        relation.add([keys, values], 40)
        before = dict(best)
        for key, value in zip(keys.tolist(), values.tolist(), strict=True):
            best[key] = choose(best.get(key, value), value)
        changed = relation.advance(round_)
        delta = dict(zip(*(column.tolist() for column in relation.delta()), strict=True))
        assert delta == {key: value for key, value in best.items() if before.get(key) != value}
        assert changed == len(delta)
    assert dict(zip(*(column.tolist() for column in relation.columns()), strict=True)) == best


# ------------------------------------------------------------------------------------------------ stores

UP = "relation begin(n: int)\nrelation up(n: int)\nup(X) :- begin(X).\nup(X + 1) :- up(X).\n"
NAMES = "relation name(n: int, text: string, weight: float, on: bool)\nrelation same(a: int, b: int)\n"
SAME = NAMES + "same(X, Y) :- name(X, T, W, true), name(Y, T, W, true).\n"
ROWS = [(1, "a", 0.0, True), (2, "b", math.nan, True), (3, "a", -0.0, True), (4, "b", math.nan, False)]


def program_of(text: str) -> Program:
    loaded = load_text(text)
    program = analyse(loaded.programs).program
    assert program is not None, loaded.diagnostics
    return program


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(facts=50), "more than 50 facts while deriving up"),
        (Limits(seconds=0.05), "not finished after 0.05 seconds"),
    ],
)
def test_rules_that_count_upwards_stop_at_a_limit(limits: Limits, says: str) -> None:
    program = program_of(UP)
    store = VectorStore(program, limits)
    store.give(program.predicates["begin"], [(1,)])
    with pytest.raises(EvaluationLimit, match=says):
        store.size(program.predicates["up"])


def test_values_that_get_better_without_end_stop_at_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tcrules.engine.vector.store.MOST_ROUNDS", 40)
    program = program_of(
        "relation go(n: int)\nrelation low(n: min int)\nlow(X) :- go(X).\nlow(X - 1) :- low(X).\n"
    )
    store = VectorStore(program)
    store.give(program.predicates["go"], [(1,)])
    with pytest.raises(EvaluationLimit, match="low: still new facts after 41 rounds"):
        store.size(program.predicates["low"])


def test_a_product_of_relations_stops_while_it_is_made() -> None:
    program = program_of("relation n(n: int)\nrelation pair(a: int, b: int)\npair(X, Y) :- n(X), n(Y).\n")
    store = VectorStore(program, Limits(facts=2_000_000))
    store.load(program.predicates["n"], [np.arange(100_000)])
    with pytest.raises(EvaluationLimit, match="more than 2000000 facts"):
        store.size(program.predicates["pair"])


def test_arrays_are_loaded_and_must_fit() -> None:
    program = program_of(SAME)
    name = program.predicates["name"]
    store = VectorStore(program)
    numbers, weights = np.arange(3), np.array([0.0, math.nan, -0.0])
    store.load(name, [numbers, (np.array([0, 1, 0]), ["a", "b"]), weights, np.ones(3, bool)])
    assert set(store.rounds(program.predicates["same"])) == {(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)}
    with pytest.raises(TypeError):
        store.load(name, [weights, numbers, weights, weights])
    with pytest.raises(ValueError, match="4 columns"):
        store.load(name, [numbers])


def written(folder: Path, columns: str = 'fact, n, text, weight, "on"') -> Path:
    rows = ", ".join(
        f"({at}, {n}, '{t}', '{w}'::DOUBLE, {on})" for at, (n, t, w, on) in enumerate(ROWS, start=10)
    )
    folder.mkdir()
    given = f'(VALUES {rows}) AS rows(fact, n, text, weight, "on")'
    typed = f'SELECT fact::BIGINT AS fact, n::BIGINT AS n, text, weight, "on" FROM {given}'
    duckdb.connect().execute(f"COPY (SELECT {columns} FROM ({typed})) TO '{folder}/name.parquet'")
    return folder


def test_small_runs_are_evaluated_in_memory_and_large_ones_in_a_database(tmp_path: Path) -> None:
    program = program_of(SAME)
    folder = written(tmp_path / "od[d] fa*ts")
    results = []
    for most, kind in ((1_000, VectorStore), (2, DuckDBStore)):
        with open_store(folder, program, most=most) as store:
            assert isinstance(store, kind)
            found = store.rounds(program.predicates["same"])
            facts = [
                (stored.id, stored.values) for stored in store.lookup(program.predicates["name"], {1: "b"})
            ]
            results.append((found, facts))
    assert results[0] == results[1]
    assert [number for number, _ in results[0][1]] == [11, 13]


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    program = program_of(SAME)
    with (
        open_store(written(tmp_path / "facts", "fact, n, text"), program) as store,
        pytest.raises(StoreFault, match="weight is missing, not DOUBLE"),
    ):
        store.size(program.predicates["same"])


def test_a_relation_without_a_file_is_empty(tmp_path: Path) -> None:
    program = program_of(SAME)
    with open_store(tmp_path, program) as store:
        assert store.rounds(program.predicates["same"]) == {}


TEXTS = """
relation big(n: int, often: string, rare: string)
relation none(n: int)
relation pair(n: int, often: string)
pair(N, Often) :- none(N), big(N, Often, _).
"""


def test_texts_that_repeat_are_fetched_by_their_places(tmp_path: Path) -> None:
    program = program_of(TEXTS)
    size = CODED + 1
    quoted = "'it''s \"' || (i % 3)"
    duckdb.connect().execute(
        f"COPY (SELECT i AS fact, i AS n, {quoted} AS often, 't' || i AS rare FROM range({size}) AS t(i))"
        f" TO '{tmp_path}/big.parquet'"
    )
    with open_store(tmp_path, program) as store:
        assert isinstance(store, VectorStore)
        numbers, often, rare = store.columns_of(program.predicates["big"])
    assert often == [f"it's \"{number % 3}" for number in range(size)]
    assert rare == [f"t{number}" for number in range(size)] and numbers == list(range(size))


def test_what_an_empty_relation_makes_needless_is_not_read(tmp_path: Path) -> None:
    program = program_of(TEXTS)
    copy = "COPY (SELECT 1::BIGINT AS fact, 1::BIGINT AS n, 'a' AS often, 'b' AS rare WHERE {}) TO '{}'"
    for name, where in (("big", "true"), ("none", "false")):
        duckdb.connect().execute(copy.format(where, tmp_path / f"{name}.parquet"))
    none, big = (program.predicates[name] for name in ("none", "big"))
    number = Var("N", Type("int", "int"))
    body = (Atom(none, (number,)), Atom(big, (number, Any_(), Any_())))
    with open_store(tmp_path, program) as store:
        assert isinstance(store, VectorStore)
        assert store.query(body)[1] == [] and "big" not in store.relations
        assert store.query(body[1:])[1] == [(1,)] and "big" in store.relations

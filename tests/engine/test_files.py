"""Facts in files: what is written is read back, the quick and the careful way agree, every fault has its line."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tcrules.engine.files.careful import read_carefully
from tcrules.engine.files.faults import FileFault
from tcrules.engine.files.layout import LAYOUTS
from tcrules.engine.files.quick import read_quickly
from tcrules.engine.files.read import find, read_relation
from tcrules.engine.files.write import write_relation
from tcrules.engine.ir import Column, Predicate, Type

BASES = ("int", "float", "bool", "string")
MIXED = Predicate("mixed", tuple(Column(f"a_{base}", Type(base, base)) for base in BASES), True)
EDGE = Predicate("edge", (Column("from", Type("int", "int")), Column("to", Type("int", "int"))), True)
NAMED = Predicate("named", (Column("id", Type("int", "int")), Column("name", Type("string", "string"))), True)


def values(columns) -> list[list[object]]:
    """Columns as lists of Python values."""
    return [
        [column[1][code] for code in column[0]] if isinstance(column, tuple) else column.tolist()
        for column in columns
    ]


def file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def faults(path: Path, predicate: Predicate) -> list[tuple[int, str]]:
    with pytest.raises(FileFault) as caught:
        read_relation(path, predicate)
    assert str(path) in str(caught.value)
    return [(fault.line, fault.message) for fault in caught.value.faults]


# ------------------------------------------------------------------------------------------------ what is right

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
ROWS = st.lists(
    st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans(), TEXTS), max_size=6
)


@settings(deadline=None)  # it writes files
@given(ROWS, st.sampled_from(["csv", "tsv", "parquet"]))
def test_written_facts_are_read_back(tmp_path_factory: pytest.TempPathFactory, rows, form: str):
    folder = tmp_path_factory.mktemp("files")
    columns = [np.array([row[at] for row in rows], kind) for at, kind in enumerate(("i8", "f8", "?", "O"))]
    path = write_relation(folder, MIXED, columns, form)
    assert find(folder, "mixed") == path
    assert list(zip(*values(read_relation(path, MIXED)), strict=True)) == rows


WORDS = st.sampled_from(
    [
        "1",
        "-2",
        "+3",
        " 4",
        "0.5",
        "1e3",
        "inf",
        "-nan",
        "true",
        "false",
        "",
        "x",
        '"q"',
        "9223372036854775808",
        "é",
    ]
)


@settings(deadline=None)
@given(
    st.lists(st.lists(WORDS, min_size=3, max_size=5), max_size=4), st.sampled_from([*LAYOUTS]), st.booleans()
)
def test_quick_and_careful_agree(tmp_path_factory: pytest.TempPathFactory, lines, suffix: str, last: bool):
    layout = LAYOUTS[suffix]
    text = "\n".join(layout.delimiter.join(line) for line in lines) + "\n" * last
    path = file(tmp_path_factory.mktemp("files"), f"mixed{suffix}", text)
    quick = read_quickly(path, layout, MIXED) if text else None
    try:
        careful = read_carefully(path, layout, MIXED)
    except FileFault:
        assert quick is None
    else:
        assert quick is None or repr(values(quick)) == repr(values(careful))


def test_header_is_optional_and_exact(tmp_path: Path):
    for content in ("from,to\n1,2\n", "1,2\n", "1,2", '"from","to"\r\n1,2\r\n', "\ufefffrom,to\n1,2\n"):
        assert values(read_relation(file(tmp_path, "edge.csv", content), EDGE)) == [[1], [2]]
    assert values(read_relation(file(tmp_path, "edge.csv", "from,to\n"), EDGE)) == [[], []]
    assert faults(file(tmp_path, "edge.csv", "to,from\n1,2\n"), EDGE)[0][0] == 1


def test_soufflés_files_have_neither_header_nor_quotes(tmp_path: Path):
    path = file(tmp_path, "named.facts", '1\t"a" b\n2\t\n')
    assert values(read_relation(path, NAMED)) == [[1, 2], ['"a" b', ""]]
    assert values(read_relation(file(tmp_path, "edge.facts", ""), EDGE)) == [[], []]


def test_quoted_texts_may_hold_anything(tmp_path: Path):
    path = file(tmp_path, "named.csv", '1,"a,""b"""\n2,"two\r\nlines"\n3,plain\n')
    assert values(read_relation(path, NAMED)) == [[1, 2, 3], ['a,"b"', "two\r\nlines", "plain"]]


def test_a_million_numbers_need_no_heavy_package(tmp_path: Path):
    rows = np.arange(300_000)
    (tmp_path / "edge.tsv").write_text("".join(f"{n}\t{-n}\n" for n in rows.tolist()))
    assert read_quickly(tmp_path / "edge.tsv", LAYOUTS[".tsv"], EDGE) is not None
    left, right = read_relation(tmp_path / "edge.tsv", EDGE)
    assert (left == rows).all() and (right == -rows).all()


# ------------------------------------------------------------------------------------------------ what is wrong


def test_all_faults_of_a_file_with_their_lines(tmp_path: Path):
    path = file(tmp_path, "edge.tsv", "1\t2\nx\t2\n3\n\n4\t5\t6\n1.5\t99999999999999999999\n7\t8\n")
    assert faults(path, EDGE) == [
        (2, "column from: 'x' is no int"),
        (3, "1 column instead of 2 (from, to)"),
        (4, "an empty line instead of 2 (from, to)"),
        (5, "3 columns instead of 2 (from, to)"),
        (6, "column from: '1.5' is no int"),
        (6, "column to: '99999999999999999999' is no int of 64 bits"),
    ]


def test_at_most_twenty_faults(tmp_path: Path):
    path = file(tmp_path, "edge.facts", "a\tb\n" * 100)
    assert len(faults(path, EDGE)) == 20


@pytest.mark.parametrize(
    ("name", "content", "line", "words"),
    [
        ("edge.csv", "", 0, "empty"),
        ("edge.csv", "1,2\n1,2\0\n", 2, "NUL"),
        ("edge.csv", b"1,2\n\xff,1\n", 2, "0xff"),
        ("edge.csv", '1,2\n"3,4\n', 2, "quote"),
        ("edge.csv", "1,2\n\n", 2, "empty line"),
        ("edge.csv", "1;2\n", 1, "1 column instead"),
        ("edge.parquet", b"PAR1", 0, "Parquet"),
        ("edge.parquet", "", 0, "Parquet"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: str | bytes, line: int, words: str):
    (found,) = faults(file(tmp_path, name, content), EDGE)
    assert found[0] == line
    assert words in found[1]


def parquet(folder: Path, select: str) -> Path:
    path = folder / "edge.parquet"
    duckdb.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
    return path


def test_parquet_columns_are_found_by_name(tmp_path: Path):
    path = parquet(tmp_path, 'SELECT 2::UTINYINT AS "to", \'x\' AS more, 1 AS "from"')
    assert values(read_relation(path, EDGE)) == [[1], [2]]


def test_parquet_faults(tmp_path: Path):
    path = parquet(tmp_path, 'SELECT 1.5::DOUBLE AS "from", 2 AS too')
    assert faults(path, EDGE) == [
        (0, "column from is DOUBLE, not int"),
        (0, "no column `to`; did you mean `too`?"),
    ]
    path = parquet(
        tmp_path, 'SELECT * FROM (VALUES (1, 2::UBIGINT), (NULL, 18446744073709551615)) AS t("from", "to")'
    )
    assert faults(path, EDGE) == [
        (2, "column from: there is no value (NULL)"),
        (2, "column to: 18446744073709551615 is no int of 64 bits"),
    ]


def test_truncated_parquet(tmp_path: Path):
    path = parquet(tmp_path, 'SELECT range AS "from", range AS "to" FROM range(1000)')
    path.write_bytes(path.read_bytes()[:-20])
    assert "Parquet" in faults(path, EDGE)[0][1]


def test_one_file_for_each_relation(tmp_path: Path):
    with pytest.raises(FileFault, match="no facts of relation edge"):
        find(tmp_path, "edge")
    file(tmp_path, "edge.csv", "1,2")
    file(tmp_path, "edge.tsv", "1\t2")
    with pytest.raises(FileFault, match=r"edge\.tsv and edge\.csv"):
        find(tmp_path, "edge")
    with pytest.raises(FileFault, match="no such folder"):
        find(tmp_path / "nowhere", "edge")

"""Rules that would take for ever, or all memory, end within the limits that were set; odd files are named as such."""

from __future__ import annotations

import importlib.util
import signal
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from tcrules.engine import naive
from tcrules.engine.analyse import analyse, find_files, load, load_text
from tcrules.engine.duckdb_store import DuckDBStore
from tcrules.engine.facts import Coverage, MemoryFacts, Stored
from tcrules.engine.limits import EvaluationLimit, current, within
from tcrules.engine.vector import VectorStore
from tcrules.grammar.limits import LIMITS, Limits

from tcrules.cli.main import cli

# With --import-mode=importlib a test folder is not importable by name.
_spec = importlib.util.spec_from_file_location("engine_helping", Path(__file__).with_name("helping.py"))
assert _spec and _spec.loader
helping = importlib.util.module_from_spec(_spec)
sys.modules["engine_helping"] = helping
_spec.loader.exec_module(helping)

EDGE = "relation edge(a: int, b: int)\n"
#: A join whose result has 1,000^4 rows.
EXPLODING = EDGE + "all(A, B, C, D) :- edge(A, _), edge(B, _), edge(C, _), edge(D, _).\n"
COUNTING = EDGE + "up(X) :- edge(X, _).\nup(X + 1) :- up(X).\n"


def facts() -> MemoryFacts:
    return MemoryFacts({"edge": [Stored(n, (n, n + 1)) for n in range(1000)]}, Coverage(frozenset({"edge"})))


def query_duckdb(text: str, body: str) -> None:
    program = helping.program_of(text)
    with DuckDBStore.from_memory(facts(), program) as store:
        derived = next(p for p in program.predicates.values() if not p.observed)
        next(iter(store.lookup(derived, {})))


def query_vector(text: str, _body: str) -> None:
    program = helping.program_of(text)
    derived = next(p for p in program.predicates.values() if not p.observed)
    next(iter(VectorStore.from_memory(facts(), program).lookup(derived, {})))


def query_naive(text: str, _body: str) -> None:
    naive.evaluate(helping.program_of(text), facts())


ENGINES = {"duckdb": query_duckdb, "vector": query_vector, "naive": query_naive}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("text", [EXPLODING, COUNTING], ids=["join", "count"])
def test_time(engine: str, text: str) -> None:
    began = time.monotonic()
    with (
        pytest.raises(EvaluationLimit, match=r"not finished after 0.4 seconds|more than"),
        within(Limits(seconds=0.4)),
    ):
        ENGINES[engine](text, "")
    assert time.monotonic() - began < 20
    time.sleep(0.1)  # nothing comes later


@pytest.mark.parametrize("engine", ENGINES)
def test_facts(engine: str) -> None:
    with pytest.raises(EvaluationLimit, match="more than 20 facts"), within(Limits(facts=20)):
        ENGINES[engine](COUNTING, "")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_time_is_up_where_an_exception_is_lost() -> None:
    class Lost:
        def __del__(self) -> None:
            time.sleep(0.3)

    handler = signal.getsignal(signal.SIGALRM)
    with pytest.raises(EvaluationLimit), within(Limits(seconds=0.1)):
        Lost()
        for _ in range(3000):  # a sleep is not interrupted, what comes between two is
            time.sleep(0.01)
    assert signal.getsignal(signal.SIGALRM) is handler


def test_limits_end_with_the_block() -> None:
    with within(Limits(facts=5, seconds=5)):
        assert current().facts == 5
    assert current() == LIMITS
    with within(Limits(seconds=0.05)):
        pass
    time.sleep(0.15)


def test_errors_of_others_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), within(Limits(seconds=5, memory=2**40)):
        _ = 1 // 0


# ------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"p(1).\n\xff", "byte 0xff in line 2 is not UTF-8"),
        ("p(1).".encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        (b"\x7fELF\x02\x01\x01\x00\x80\x81", "byte 0x80 in line 1 is not UTF-8"),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "a.tcr").write_bytes(data)
    (fault,) = load([str(tmp_path / "a.tcr")], find_files()).diagnostics
    assert (fault.code, fault.message) == ("TCR212", f"cannot read `{tmp_path / 'a.tcr'}`: {why}")


def test_line_ends_of_other_systems(tmp_path: Path) -> None:
    (tmp_path / "a.tcr").write_bytes(b"p(1).\r\nq(2).\rr(3).\n")
    (program,) = load([str(tmp_path / "a.tcr")], find_files()).programs
    assert [statement.span.line for statement in program.program.statements] == [1, 2, 3]


def test_imports_that_nest_too_deeply(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.tcr").write_text(f'import "{number + 1}.tcr"\n')
    (tmp_path / "300.tcr").write_text("p(1).\n")
    found = load([str(tmp_path / "0.tcr")], find_files())
    assert [fault.code for fault in found.diagnostics] == ["TCR219"]


def test_imports_that_multiply(tmp_path: Path) -> None:
    """Each file imports all later ones: there are 2^n ways, and n files."""
    for number in range(40):
        (tmp_path / f"{number}.tcr").write_text(
            "".join(f'import "{n}.tcr"\n' for n in range(number + 1, 40)) + f"p{number}(1).\n"
        )
    found = load([str(tmp_path / "0.tcr")], find_files())
    assert not found.failed
    assert len(found.programs) == 40


@pytest.mark.parametrize(
    "text",
    [
        "p(X) :- q(X), " + ", ".join(f"X != {n}" for n in range(3000)) + ".",
        "p(X) :- q(X, _), " + "(abs(X) = 1), " * 500 + "X > 1.",
        "".join(f"p{n}(X) :- p{n + 1}(X).\n" for n in range(3000)) + "p3000(1).",
        "".join(f"p{n}(X) :- not p{(n + 1) % 200}(X), q(X).\n" for n in range(200)) + "q(1).",
        "p(X) :- " + ", ".join(f"q{n}(X)" for n in range(500)) + ".",
        "invariant a { each p(X) expect "
        + " or ".join(f"q(X, {n})" for n in range(2000))
        + ' message "" }\np(1). q(1, 1).',
    ],
    ids=["wide", "calls", "chain", "cycle", "unknown", "alternatives"],
)
def test_big_programs_end(text: str) -> None:
    began = time.monotonic()
    loaded = load_text(text)
    analyse(loaded.programs)
    assert time.monotonic() - began < 20


# ------------------------------------------------------------------------------------------------ commands


@pytest.mark.parametrize(
    ("text", "option", "message"),
    [
        (EXPLODING, "--max-seconds=0.3", "error: not finished after 0.3 seconds"),
        (COUNTING, "--max-facts=1050", "error: more than 1050 facts"),
    ],
)
def test_the_command_line(tmp_path: Path, text: str, option: str, message: str) -> None:
    (tmp_path / "a.tcr").write_text(text)
    (tmp_path / "edge.facts").write_text("".join(f"{n}\t{n + 1}\n" for n in range(1000)))
    command = ["query", "--facts", str(tmp_path), str(tmp_path / "a.tcr"), "--count", option]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "--max-seconds" in result.output

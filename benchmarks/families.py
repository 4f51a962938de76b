"""Rule families against rule by rule: 1,000 rules of one shape over a million calls, in one run.

    python benchmarks/families.py [--calls 1000000] [--rules 1000] [--sample 50]

Rules say that a call of one API contains a call of another. Rule by rule evaluation is measured on a sample of the
rules and scaled up; both ways must agree on them. The counting query of mining is measured on the same calls.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import TYPE_CHECKING, TypeVar

from tcrules.engine.analyse import analyse, load_text
from tcrules.engine.check import check
from tcrules.engine.duckdb_store import DuckDBStore, Settings
from tcrules.engine.facts import Coverage, MemoryFacts
from tcrules.engine.families import singles
from tcrules.engine.statistics import statistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcrules.engine.ir import Program

RELATION = "relation event(call: call, api: api, parent: call, step: step)\n"
RULE = """invariant nested-{0} {{
    each event(C, "outer{0}", _, S) expect event(api: "inner{0}", parent: C) message "{{S}}"
}}
"""
TEMPLATE = """template nested(?A: api, ?B: api) {
    each event(C, ?A, _, S) expect event(api: ?B, parent: C) message "{S}"
}
"""
COVERAGE = Coverage(frozenset({"event"}))
#: Each outer call has four inner calls; one in a thousand outer calls lacks the one that its rule asks for.
CALLS = """
INSERT INTO event
SELECT n, n,
       CASE WHEN n % 5 = 0 THEN 'outer' || (n // 5) % $rules
            WHEN n % 5 = 1 AND (n // 5) % 1009 > 0 THEN 'inner' || (n // 5) % $rules
            ELSE 'common' || n % 5 END,
       CASE WHEN n % 5 = 0 THEN 0 ELSE n - n % 5 END,
       n // 1000
FROM range($calls) AS numbers(n)
"""
T = TypeVar("T")


def timed(what: str, run: Callable[[], T]) -> tuple[float, T]:
    """Seconds that a call takes, printed, and its result."""
    begin = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - begin
    print(f"{what:<60}{seconds:9.3f} s")
    return seconds, result


def program_of(rules: int) -> Program:
    loaded = load_text(RELATION + "".join(RULE.format(n) for n in range(rules)) + TEMPLATE)
    program = analyse(loaded.programs).program
    if program is None:
        raise SystemExit("the rules of the benchmark are broken")
    return program


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--rules", type=int, default=1_000)
    parser.add_argument("--sample", type=int, default=50)
    parser.add_argument("--threads", type=int, default=Settings().threads)
    options = parser.parse_args()
    _, program = timed(f"parse and analyse {options.rules} rules", lambda: program_of(options.rules))
    with DuckDBStore.from_memory(MemoryFacts({}), program, Settings(threads=options.threads)) as store:
        store.evaluate([program.invariants[0].each])
        store.connection.execute(CALLS, {"rules": options.rules, "calls": options.calls})
        compare(program, store, options.sample)
    print(
        f"{'peak memory of the process':<60}{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:9.3f} GB"
    )


def compare(program: Program, store: DuckDBStore, sample: int) -> None:
    """Both ways of checking, and mining, on the same store."""
    rules, chosen = len(program.invariants), program.invariants[:sample]
    check(program, store, COVERAGE, chosen[:1])  # the first statement also loads code
    family, everything = timed(f"check {rules} rules as one family", lambda: check(program, store, COVERAGE))
    single, some = timed(
        f"check {len(chosen)} rules one by one",
        lambda: check(program, store, COVERAGE, chosen, grouping=singles),
    )
    if everything.verdicts[: len(chosen)] != some.verdicts:
        raise SystemExit("families and single rules disagree")
    scaled = single * rules / len(chosen)
    print(f"{'one by one, scaled to all rules':<60}{scaled:9.3f} s")
    print(f"{'ratio, one by one to family':<60}{scaled / family:9.1f} x")
    _, counted = timed(
        "count all candidates of the template", lambda: statistics(program.templates[0], store)
    )
    print(f"{'candidates':<60}{len(counted):9}")


if __name__ == "__main__":
    main()

"""A thousand and ten thousand rules of four families over a synthetic trace: in one go, and step by step.

    python benchmarks/trace_check.py batch [--calls 1000000] [--rules 1000] [--folder /tmp/tcrules-traces]
    python benchmarks/trace_check.py live [--rules 500] [--facts 1000] [--steps 10000]

A call has 2.8 facts: itself, and in nine of ten cases an argument and a result. Calls come in pairs, an inner one
within an outer one; each pair concerns one rule of each family, however many rules there are. So more rules mean more
names and larger tables of constants, but not more instances. One pair in a thousand breaks its rules.

`batch`: the trace is made beforehand as Parquet by DuckDB and is not counted. Each measurement is a process of its own:
start, imports, parsing, analysis, checking, verdicts and violations; time and peak memory as the system reports them.
`live`: a session is fed each step's facts and closes the step; the time is that of feeding and deciding.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS_PER_STEP = 1000
RULES_PER_FILE = 4000
#: The limit that the store is given; what does not fit is spilled.
MEMORY = "700MB"
DECLARATIONS = """relation invoked(call: call, api: api, parent: call, step: step)
relation argument(call: call, step: step, name: string, dtype: string)
relation outcome(call: call, step: step, dtype: string, norm: float)
"""
FAMILIES = (
    """invariant contains-{n} @tags(nesting) {{
    each    invoked(call: C, api: "outer{k}", step: S)
    expect  invoked(call: _, api: "inner{k}", parent: C, step: S)
    message "step {{S}}: no inner{k} in {{C}}"
}}
""",
    """invariant dtype-{n} @tags(types) {{
    each    invoked(call: C, api: "inner{k}", step: S), argument(call: C, step: S, name: "x{k}", dtype: D)
    expect  D = "float32"
    message "step {{S}}: {{D}} in {{C}}"
}}
""",
    """invariant bounded-{n} @tags(values) {{
    each    invoked(call: C, api: "outer{k}", step: S), outcome(call: C, step: S, norm: N)
    expect  N <= {k}.5
    message "step {{S}}: {{N}} from {{C}}"
}}
""",
    """invariant together-{n} @tags(order) {{
    each    invoked(call: C, api: "inner{k}", step: S)
    expect  invoked(call: Other, api: "outer{k}", step: S), Other < C
    message "step {{S}}: no outer{k} before {{C}}"
}}
""",
)
#: One query for each relation, over call numbers `n` from 1; `$pairs` names of each kind.
TRACE = {
    "invoked": """SELECT n AS fact, n AS "call", CASE WHEN n % 2 = 1 THEN 'outer' || pair
        WHEN broken THEN 'other' ELSE 'inner' || pair END AS api, CASE WHEN n % 2 = 0 THEN n - 1 ELSE 0 END AS parent,
        step FROM calls""",
    "argument": """SELECT n AS fact, n AS "call", step, 'x' || pair AS name,
        CASE WHEN broken THEN 'float16' ELSE 'float32' END AS dtype FROM calls WHERE (n + n // 1000) % 10 > 0""",
    "outcome": """SELECT n AS fact, n AS "call", step, 'float32' AS dtype,
        CASE WHEN broken THEN 1e9 ELSE pair::DOUBLE END AS norm FROM calls WHERE (n + n // 1000) % 10 < 9""",
}
CALLS = """CREATE VIEW calls AS SELECT n, ((n - 1) // 2) % {pairs} AS pair, (n - 1) // {size} AS step,
    ((n - 1) // 2) % 1009 = 7 AS broken FROM range(1, {calls} + 1) AS numbers(n)"""


def rule_files(rules: int) -> list[str]:
    """So many rules of four families, in files of a size that is allowed; the first has the declarations."""
    texts = [FAMILIES[n % 4].format(n=n, k=n // 4) for n in range(rules)]
    return [
        (DECLARATIONS if first == 0 else "") + "".join(texts[first : first + RULES_PER_FILE])
        for first in range(0, rules, RULES_PER_FILE)
    ]


def make_trace(folder: Path, calls: int, rules: int) -> Path:
    """The trace as Parquet, one file for each relation; made once."""
    import duckdb

    made = folder / f"{calls}-{rules}"
    if not (made / "done").exists():
        made.mkdir(parents=True, exist_ok=True)
        with duckdb.connect() as connection:
            connection.execute(CALLS.format(calls=calls, pairs=rules // 4, size=CALLS_PER_STEP))
            for name, query in TRACE.items():
                connection.execute(f"COPY ({query}) TO '{made / name}.parquet' (FORMAT parquet)")
        for number, text in enumerate(rule_files(rules)):
            (made / f"rules-{number}.tcr").write_text(text)
        (made / "done").touch()
    return made


# ------------------------------------------------------------------------------------------------ batch


def check_trace(folder: Path) -> dict[str, float]:
    """What the measured process does; seconds by part."""
    begin = time.perf_counter()
    import tcrules.engine.check
    import tcrules.engine.duckdb_store
    import tcrules.rules.loading  # noqa: F401
    from tcrules.grammar.records import collector_paused

    imported = time.perf_counter()
    with collector_paused():  # as `tcrules check` does
        return {"imports": imported - begin, **_check(folder)}


def _check(folder: Path) -> dict[str, float]:
    from tcrules.engine.check import check
    from tcrules.engine.duckdb_store import DuckDBStore, Settings
    from tcrules.engine.facts import Coverage
    from tcrules.rules.loading import load_rules

    begin = time.perf_counter()
    program = load_rules(sorted(folder.glob("rules-*.tcr")), library=False).program
    analysed = time.perf_counter()
    with DuckDBStore.open(folder, program, Settings(memory=MEMORY)) as store:
        result = check(program, store, Coverage(frozenset(TRACE)))
    checked = time.perf_counter()
    statuses = [verdict.status for verdict in result.verdicts]
    instances = sum(verdict.violated + verdict.held for verdict in result.verdicts)
    return {
        "rules": analysed - begin,
        "check": checked - analysed,
        "instances": instances,
        "violations": sum(map(len, result.violations.values())),
        "decided": sum(status in ("violated", "held") for status in statuses) / len(statuses),
    }


def measured(folder: Path) -> tuple[float, float, dict[str, float]]:
    """Seconds and peak gigabytes of a whole process, and what it says of itself."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, __file__, "one", "--folder", str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status:
        raise SystemExit("the measured process failed")
    return seconds, used.ru_maxrss / 1e6, json.loads(told)


def batch(options: argparse.Namespace) -> None:
    """Measure each size of trace with the rules and with ten times as many."""
    print(
        f"{'calls':>10} {'rules':>7} {'process':>9} {'imports':>8} {'rules':>8} {'check':>8} {'memory':>8}  instances"
    )
    for calls in options.calls:
        folders = [make_trace(options.folder, calls, rules) for rules in options.rules]
        # In turns: a machine that is slow for a while is slow for all.
        rounds = [[measured(folder) for folder in folders] for _ in range(options.repeat)]
        times = []
        for rules, runs in zip(options.rules, zip(*rounds, strict=True), strict=True):
            seconds, memory, parts = min(runs, key=lambda run: run[0])
            times.append(seconds)
            print(
                f"{calls:>10} {rules:>7} {seconds:>7.2f} s {parts['imports']:>6.2f} s {parts['rules']:>6.2f} s "
                f"{parts['check']:>6.2f} s {memory:>5.2f} GB  {parts['instances']:.0f}, "
                f"{parts['violations']:.0f} violations, {parts['decided']:.0%} of the rules decided"
            )
        if len(times) > 1:
            print(
                f"{'':>10} {options.rules[-1] / options.rules[0]:.0f} times the rules: {times[-1] / times[0]:.2f} x"
            )


# ------------------------------------------------------------------------------------------------ live


def steps_of(facts: int, pairs: int, steps: int) -> Iterator[dict[str, list[tuple[object, ...]]]]:
    """Facts of each step, made when they are asked for, in the proportions of the trace."""
    count = round(facts / 2.8 / 2) * 2
    for step in range(steps):
        found: dict[str, list[tuple[object, ...]]] = {name: [] for name in TRACE}
        for n in range(step * count + 1, (step + 1) * count + 1):
            pair, broken = ((n - 1) // 2) % pairs, ((n - 1) // 2) % 1009 == 7
            api = f"outer{pair}" if n % 2 else "other" if broken else f"inner{pair}"
            found["invoked"].append((n, api, 0 if n % 2 else n - 1, step))
            if (n + n // 1000) % 10 > 0:
                found["argument"].append((n, step, f"x{pair}", "float16" if broken else "float32"))
            if (n + n // 1000) % 10 < 9:
                found["outcome"].append((n, step, "float32", 1e9 if broken else float(pair)))
        yield found


def live(options: argparse.Namespace) -> None:
    """Feed a session step by step."""
    from tcrules.engine.analyse import analyse, load_text
    from tcrules.engine.live import LiveSession

    rules = options.rules[0]
    program = analyse(load_text("".join(rule_files(rules))).programs).program
    if program is None:
        raise SystemExit("too many rules for one text")
    begin = time.perf_counter()
    session = LiveSession(program, world=1, most_violations=100)
    print(f"{rules} rules loaded in {(time.perf_counter() - begin) * 1e3:.0f} ms; remembered:")
    print("  " + session.memory().replace("\n", "\n  "))
    gc.collect()
    gc.freeze()  # the rules stay; a process that checks says so to the garbage collector
    seconds, violations = [], 0
    for step, facts in enumerate(steps_of(options.facts, rules // 4, options.steps)):
        begin = time.perf_counter()
        for name, rows in facts.items():
            session.feed(name, rows)
        violations += len(session.advance(0, step))
        seconds.append(time.perf_counter() - begin)
        if (step + 1) % max(1, options.steps // 5) == 0:
            held, peak = sum(session.held().values()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(f"step {step + 1:>6}: {held} facts held, peak memory {peak / 1e3:.1f} MB")
    result = session.close()
    decided = sum(verdict.violated + verdict.held for verdict in result.verdicts)
    found = sum(verdict.violated for verdict in result.verdicts)
    if found != violations:
        raise SystemExit(f"{violations} violations were told, {found} counted")
    seconds.sort()
    print(
        f"{decided} instances, {violations} violations in {options.steps} steps of about {options.facts} facts"
    )
    for name, place in (("median", 0.5), ("99th percentile", 0.99), ("slowest", 1.0)):
        print(f"{name:<16}{seconds[min(int(len(seconds) * place), len(seconds) - 1)] * 1e3:8.3f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("batch", "live", "one"), help="one: the measured process of batch")
    parser.add_argument("--calls", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--rules", type=int, nargs="+")
    parser.add_argument("--facts", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=5, help="the fastest of so many processes is told")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "tcrules-traces")
    options = parser.parse_args()
    if options.what == "one":
        print(json.dumps(check_trace(options.folder)))
        return
    options.rules = options.rules or ([500] if options.what == "live" else [1000, 10_000])
    (batch if options.what == "batch" else live)(options)


if __name__ == "__main__":
    main()

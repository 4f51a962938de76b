"""Runs of the mutation suite, rules learned from them, and what checking them finds; for `quality.py`."""

from __future__ import annotations

import hashlib
import multiprocessing
import sys
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "mutations"))

from playing import play  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from suite import Fault, Program
    from tcrules.engine import ir

T = TypeVar("T")
K = TypeVar("K")
LOUD = ("error", "warning")


@dataclass(frozen=True, slots=True)
class Trial:
    """One run: a program with flags, healthy or with a fault."""

    program: Program
    flags: tuple[str, ...]
    fault: Fault | None = None

    @property
    def name(self) -> str:
        """The run in a few words."""
        return f"{self.program.name}/{self.fault.id if self.fault else ' '.join(self.flags)}"

    def key(self) -> str:
        """Name of the run folder: changes when the program, its flags or the recorder change."""
        text = self.program.script.read_text(encoding="utf-8")
        text = self.fault.apply(text) if self.fault else text
        content = "\0".join([text, *self.flags, _recorder()])
        label = self.fault.id if self.fault else "healthy"
        return f"{self.program.name}.{label}.{hashlib.sha256(content.encode()).hexdigest()[:10]}"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A violation of severity error or warning."""

    rule: str
    step: int | None
    cluster: int
    message: str


def trials(programs: Sequence[Program]) -> tuple[list[Trial], list[Trial], list[Trial]]:
    """Runs to learn from, further healthy runs, and faulty runs with the flags of the first of those."""
    return (
        [Trial(p, flags) for p in programs for flags in p.learn],
        [Trial(p, flags) for p in programs for flags in p.check],
        [Trial(p, p.check[0], fault) for p in programs for fault in p.faults],
    )


def record(wanted: Sequence[Trial], work: Path, jobs: int) -> dict[Trial, Path]:
    """Record what is not in the work folder yet.

    Raises:
        RuntimeError: a program ended with another exit code than 0: a silent fault must not.
    """
    folders = {trial: work / "runs" / trial.key() for trial in wanted}
    missing = [trial for trial, folder in folders.items() if not (folder / "facts").is_dir()]
    with ThreadPoolExecutor(jobs) as pool:
        tasks = {pool.submit(_record, trial, folders[trial], work): trial for trial in missing}
        finish("record", tasks)
    return folders


def _record(trial: Trial, run: Path, work: Path) -> None:
    program, output = trial.program, work / "output" / f"{trial.key()}.txt"
    output.parent.mkdir(parents=True, exist_ok=True)
    script = program.faulty(trial.fault, work / "programs") if trial.fault else program.script
    code = play(script, trial.flags, processes=program.processes, output=output, run=run)
    if code:
        (run / "facts").rename(run / "facts-of-failure")
        raise RuntimeError(f"{trial.name} ended with exit code {code}: see {output}*")


def learn(
    wanted: Mapping[tuple[str, str], tuple[Sequence[Path], frozenset[str]]], work: Path, jobs: int
) -> dict[tuple[str, str], Path]:
    """Rule files by name and mode; `wanted` says for each which runs to learn from and which stages to leave out.

    Files of the same rules are one file: what one finds, the other finds.
    """
    (work / "rules").mkdir(parents=True, exist_ok=True)
    with _workers(jobs) as pool:
        tasks = {
            pool.submit(_learn, list(map(str, runs)), without): key for key, (runs, without) in wanted.items()
        }
        texts = finish("learn", tasks)
    files, known = {}, {}
    for key in wanted:
        file = work / "rules" / f"{'.'.join(key).replace(' ', '-')}.tcr"
        file.write_text(texts[key], encoding="utf-8")
        files[key] = known.setdefault((key[0], texts[key]), file)
    return files


def _learn(runs: list[str], without: frozenset[str]) -> str:
    from tcrules.rules.infer import infer
    from tcrules.rules.infer.options import Options

    return infer([Path(run) for run in runs], options=Options(without=without)).text


def rules(file: Path) -> int:
    """How many rules a file has."""
    return sum(line.startswith("invariant ") for line in file.read_text(encoding="utf-8").splitlines())


def check(wanted: Iterable[tuple[Path, Path]], jobs: int) -> dict[tuple[Path, Path], tuple[Alarm, ...]]:
    """What is found by the library and a rule file in a run, by (rule file, run)."""
    with _workers(jobs) as pool:
        # Sorted: a process loads rules once for all runs that they check.
        tasks = {pool.submit(_check, str(run), str(rules)): (rules, run) for rules, run in sorted(wanted)}
        return finish("check", tasks)


def _check(run: str, rules: str) -> tuple[Alarm, ...]:
    from tcrules.checking import check_loaded

    with check_loaded(Path(run), _loaded(rules)) as checked:
        report = checked.report
    if not report.evaluated:
        raise RuntimeError(f"{run}: no rule was evaluated")
    return tuple(
        Alarm(found.rule, found.first_step, found.cluster, found.message)
        for found in report.violations
        if found.severity in LOUD
    )


@lru_cache
def _loaded(rules: str) -> ir.Program:
    from tcrules.api import load_rules

    return load_rules(rules)


def finish(
    what: str, tasks: Mapping[Future[T], K], tell: Callable[[str], object] = sys.stderr.write
) -> dict[K, T]:
    """The results of all tasks; the first failure ends those that wait, and is raised."""
    found: dict[K, T] = {}
    for task in as_completed(tasks):
        if task.exception() is not None:
            for other in tasks:
                other.cancel()
            tell("\n")
        found[tasks[task]] = task.result()
        tell(f"\r{what}: {len(found)} of {len(tasks)} ")
    if tasks:
        tell("\n")
    return found


def library() -> frozenset[str]:
    """The ids of the shipped rules."""
    from tcrules.api import load_rules

    return frozenset(rule.id for rule in load_rules().invariants)


def _workers(jobs: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context)


@cache
def _recorder() -> str:
    """A digest of the recorder's sources: when they change, runs are recorded again."""
    digest = hashlib.sha256()
    for source in sorted((ROOT / "instrument").rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()

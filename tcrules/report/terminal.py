"""A report for readers: the verdict first, then causes, then what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from tcrules.instrument.schema import SPARSE
from tcrules.report.model import LOUD, Report, RuleVerdict, Violation
from tcrules.report.stories import Story, stories

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console

STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
#: Longest list of unknown rules or gaps that is spelled out without `-v`.
BRIEF = 5


def write(report: Report, console: Console, *, verbose: bool = False) -> None:
    """Print a report; `verbose` spells out every violation and every rule that was not decided."""
    console.print(_headline(report))
    roots = [violation for violation in report.violations if violation.root]
    others = [violation for violation in report.violations if not violation.root]
    for story in stories(report.violations):
        console.print()
        console.print(_violation(story.root, len(story.twins)))
        for line in reasons(story):
            console.print(Text(f"   {line}", style="dim"))
    _write_consequences(roots, others, console, verbose)
    console.print()
    _write_rules(report, console, verbose)
    _write_suppressed(report, console, verbose)
    for note in report.notes:
        console.print(Text(f"note: {plain(note)}", style="yellow"))


def plain(text: str) -> str:
    """Text from a run without control characters, which could repaint a terminal.

    >>> plain("fc\\x1b[2Jweight")
    'fc?[2Jweight'
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def reasons(story: Story) -> list[str]:
    """Why a violation is told as a root cause: what follows from it, on which way, and what else it may be."""
    lines = []
    cause = story.root.cause
    if story.consequences:
        through = f", by way of {' → '.join(cause.way)}" if cause and len(cause.way) > 1 else ""
        lines.append(f"explains {story.explained()}{through}")
    if cause and cause.rivals:
        lines.append(f"as likely the cause: {', '.join(cause.rivals)}")
    return lines


def steps_of(violation: Violation) -> str:
    """When and how often, for readers.

    >>> from tcrules.report.model import Violation
    >>> steps_of(Violation("V1", "r", "error", 3, 9, 7, (0,), (), "", None, 0))
    'steps 3–9, 7 times'
    """
    times = "" if violation.count == 1 else f"{violation.count} times"
    if violation.first_step is None:
        return times or "once"
    if violation.first_step == violation.last_step:
        when = f"step {violation.first_step}"
    else:
        when = f"steps {violation.first_step}–{violation.last_step}"
    return f"{when}, {times}" if times else when


def counted(number: int, noun: str) -> str:
    """`1 rule`, `2 rules`, `2 processes`.

    >>> counted(2, "process"), counted(1, "rule")
    ('2 processes', '1 rule')
    """
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def _headline(report: Report) -> Text:
    where = f"{plain(report.run)} ({counted(report.steps, 'step')}, {counted(report.processes, 'process')})"
    loud = [violation for violation in report.violations if violation.severity in LOUD]
    roots = sum(violation.root for violation in loud)
    if loud:
        causes = {violation.rule for violation in loud if violation.root}
        rest = len({violation.rule for violation in loud} - causes)
        more = f", {counted(rest, 'further rule')} violated" if rest else ""
        cause = counted(roots, "root cause")
        return Text.assemble(("FAULTY", "bold red"), f"  {cause}{more} in {where}")
    if not report.evaluated:
        return Text.assemble(("NOT CHECKED", "bold yellow"), f"  no rule could be decided on {where}")
    quiet = f", {counted(len(report.violations), 'note')}" if report.violations else ""
    quiet += f", {len(report.suppressed)} suppressed" if report.suppressed else ""
    return Text.assemble(("CLEAN", "bold green"), f"  no violation{quiet} in {where}")


def heading(violation: Violation, before: str | tuple[str, str]) -> Text:
    """Severity, rule, location and message, after what stands before them."""
    text = Text.assemble(
        before,
        " ",
        (violation.severity, STYLES[violation.severity]),
        " ",
        (violation.rule, "bold"),
    )
    if violation.location:
        text.append(f"  {plain(str(violation.location))}", style="cyan")
    text.append(f"\n   {plain(violation.message)}")
    return text


def _violation(violation: Violation, twins: int) -> Text:
    text = heading(violation, (violation.id, "bold"))
    text.append(f"\n   {_extent(violation, twins)}", style="dim")
    return text


def _extent(violation: Violation, twins: int) -> str:
    parts = [steps_of(violation)]
    if violation.ranks not in ((), (0,)):
        word = "rank" if len(violation.ranks) == 1 else "ranks"
        parts.append(f"{word} {', '.join(map(str, violation.ranks))}")
    if twins:
        parts.append(f"and {twins} more {violation.noun if twins == 1 else violation.noun + 's'}")
    return "; ".join(parts)


def _twins(violation: Violation, others: Sequence[Violation]) -> tuple[list[Violation], list[Violation]]:
    """Violations of the same rule in the same cluster, which are told in one breath; and the others."""
    twins = [o for o in others if (o.rule, o.cluster) == (violation.rule, violation.cluster)]
    return twins, [o for o in others if o not in twins]


def _write_consequences(
    roots: Sequence[Violation], others: Sequence[Violation], console: Console, verbose: bool
) -> None:
    told = {(root.rule, root.cluster) for root in roots}
    rest = [violation for violation in others if verbose or (violation.rule, violation.cluster) not in told]
    if not rest:
        return
    console.print()
    console.print(Text("What follows", style="bold"))
    while rest:
        first = rest[0]
        twins, remaining = ([], rest[1:]) if verbose else _twins(first, rest[1:])
        console.print(_violation(first, len(twins)))
        rest = remaining


def _write_rules(report: Report, console: Console, verbose: bool) -> None:
    summary = report.summary()
    counts = ", ".join(f"{number} {status}" for status, number in summary.items() if number)
    console.print(Text(f"{counted(len(report.verdicts), 'rule')}: {counts or 'none'}"))
    unknown = [(rule, verdict) for rule, verdict in report.verdicts.items() if verdict.unknown]
    _write_some([_undecided(rule, verdict) for rule, verdict in unknown], console, verbose, "undecided")
    _write_some(_gaps(report, verbose), console, verbose, "gap")
    if verbose:
        vacuous = [rule for rule, verdict in report.verdicts.items() if verdict.status == "vacuous"]
        _write_some(vacuous, console, verbose, "nothing to check")


def _write_suppressed(report: Report, console: Console, verbose: bool) -> None:
    if report.suppressed:
        reasons = len({item.excuse for item in report.suppressed})
        told = f"{counted(len(report.suppressed), 'violation')} suppressed ({counted(reasons, 'reason')})"
        console.print(Text(told))
    for item in report.suppressed if verbose else ():
        violation, excuse = item.violation, item.excuse
        where = f"  {violation.location}" if violation.location else ""
        line = f"{violation.id} {violation.severity} {violation.rule}{where}: {violation.message}"
        console.print(Text(f"   {plain(line)}", style="dim"))
        console.print(
            Text(f"      because: {plain(excuse.reason)} ({plain(str(excuse.place))})", style="dim")
        )
    for caution in report.cautions:
        console.print(Text(plain(f"warning: {caution.place}: {caution.message}"), style="yellow"))


def _gaps(report: Report, verbose: bool) -> Iterator[str]:
    """One line for relations that lack facts of the same steps for the same reason.

    What every run looks at now and then only is news where a rule is undecided for it; that rule's line says so.
    """
    alike: dict[tuple[str, str, str], list[str]] = {}
    for gap in report.gaps:
        if gap.why == SPARSE and not verbose:
            continue
        alike.setdefault((gap.why, gap.steps, gap.ranks), []).append(gap.relation)
    for (why, steps, ranks), relations in alike.items():
        shown = relations if verbose or len(relations) <= BRIEF else relations[: BRIEF - 2]
        more = f" and {len(relations) - len(shown)} more" if len(shown) < len(relations) else ""
        yield f"{', '.join(shown)}{more}: {why} ({steps}, {ranks})"


def _undecided(rule: str, verdict: RuleVerdict) -> str:
    why = "; ".join(verdict.reasons) or "facts are missing"
    return f"{rule}: {counted(verdict.unknown, 'instance')}: {why}"


def _write_some(lines: Iterable[str], console: Console, verbose: bool, label: str) -> None:
    every = list(lines)
    shown = every if verbose else every[:BRIEF]
    for line in shown:
        console.print(Text(f"   {label}: {plain(line)}", style="dim"))
    if len(shown) < len(every):
        console.print(Text(f"   {label}: {len(every) - len(shown)} more (see -v)", style="dim"))

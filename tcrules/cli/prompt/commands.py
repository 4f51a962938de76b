"""What can be typed at the prompt: goals, rules, and words that begin with `?`."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from tcrules.cli.answers import write
from tcrules.cli.common import result_console

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcrules.cli.prompt.session import Session
    from tcrules.engine.ir import Predicate

_STATEMENT = re.compile(
    r"\s*(?:(?:import|type|relation|param|invariant|template)\b(?!\s*[(:])|.*:-)", re.DOTALL
)
_TOKENS = re.compile(r'(?P<skip>"(?:[^"\\\n]|\\.)*"|//[^\n]*)|(?P<open>[({])|(?P<close>[)}])|(?P<mark>:-|\S)')
#: Answers that are shown unless `?limit` says otherwise.
LIMIT = 50


@dataclass(slots=True)
class Prompt:
    """A session with what only its prompt needs. `limit` 0: show all answers."""

    session: Session
    limit: int = LIMIT
    open: bool = True


def is_statement(text: str) -> bool:
    """Whether a text is a rule, fact or declaration; else it is a goal.

    >>> is_statement("p(X) :- q(X)."), is_statement("p(1)."), is_statement("p(X), X > 1")
    (True, True, False)
    """
    return _STATEMENT.match(text) is not None or text.rstrip().endswith(".")


def is_complete(text: str) -> bool:
    """Whether Enter ends a text: nothing is open, and nothing is expected to follow.

    >>> is_complete("p(X), q(X)"), is_complete("p(X),"), is_complete("p(X) :- q(X)"), is_complete("not { p(X)")
    (True, False, False, False)
    """
    if text.strip().startswith("?"):
        return True
    depth, last, rule = 0, "", False
    for match in _TOKENS.finditer(text):
        if match["open"]:
            depth += 1
        elif match["close"]:
            depth -= 1
        last = match["mark"] or (
            "x" if match["skip"] and match["skip"][0] == '"' else last if match["skip"] else "x"
        )
        rule |= last == ":-"
    if depth > 0 or last in {",", ":-", "=", "<", ">", "+", "-", "*", "/", ":"}:
        return False
    return last == "." if rule else bool(last)


def handle(prompt: Prompt, text: str) -> None:
    """Do what a text says. Faults are raised; results go to stdout, remarks to stderr."""
    if text.strip().startswith("?"):
        word, _, rest = text.strip()[1:].partition(" ")
        command = COMMANDS.get(word)
        if command is None:
            raise click.UsageError(f"there is no ?{word}; ?help lists what there is")
        command.run(prompt, rest.strip())
    elif is_statement(text):
        added = prompt.session.add(text)
        names = ", ".join(predicate.name for predicate in added) or "declarations"
        click.echo(f"added: {names}", err=True)
    elif text.strip():
        _ask(prompt, text)


def _ask(prompt: Prompt, goal: str) -> None:
    begin = time.perf_counter()
    limit = prompt.limit or None
    names, answers = prompt.session.ask(goal, limit)
    seconds = time.perf_counter() - begin
    write(names, answers, "text", limit)
    click.echo(f"{seconds:.3f} s", err=True)


# ------------------------------------------------------------------------------------------------ words


@dataclass(frozen=True, slots=True)
class Command:
    """A word after `?`."""

    usage: str
    help: str
    run: Callable[[Prompt, str], None]


def _help(_: Prompt, __: str) -> None:
    width = max(len(command.usage) for command in COMMANDS.values()) + 3
    lines = [f"?{command.usage:<{width}}{command.help}" for command in COMMANDS.values()]
    lines += [
        "",
        "A goal is a list of literals: step(step: S), S > 10",
        "A rule ends with a dot and holds until you leave: late(S) :- step(step: S), S > 10.",
        "Tab completes, Ctrl-C stops a query (in runs of over a million facts: before its next part), Ctrl-D leaves.",
    ]
    click.echo("\n".join(lines))


def _relations(prompt: Prompt, part: str) -> None:
    found = [p for name, p in sorted(prompt.session.program.predicates.items()) if part in name]
    if not found:
        raise click.UsageError(f"no relation has {part!r} in its name")
    for predicate in found:
        click.echo(_signature(predicate))


def _signature(predicate: Predicate) -> str:
    columns = ", ".join(f"{column.name.lstrip('$')}: {column.type.name}" for column in predicate.columns)
    return f"{predicate.name}({columns}){'' if predicate.observed else '  // derived'}"


def _explain(prompt: Prompt, goal: str) -> None:
    if not goal:
        raise click.UsageError("?explain needs a goal, such as ?explain path(1, X)")
    result_console().print(prompt.session.explain(goal))


def _rules(prompt: Prompt, _: str) -> None:
    click.echo("\n".join(prompt.session.typed) or "no rules were typed")


def _forget(prompt: Prompt, _: str) -> None:
    prompt.session.forget()


def _limit(prompt: Prompt, number: str) -> None:
    if not number.isdecimal():
        raise click.UsageError(f"?limit takes a number, 0 for no limit; it is {prompt.limit}")
    prompt.limit = int(number)


def _quit(prompt: Prompt, _: str) -> None:
    prompt.open = False


COMMANDS = {
    "help": Command("help", "what can be typed", _help),
    "relations": Command(
        "relations [PART]", "relations and their columns, those with PART in their names", _relations
    ),
    "explain": Command("explain GOAL", "why the first answer holds, or why there is none", _explain),
    "rules": Command("rules", "the rules that were typed", _rules),
    "forget": Command("forget", "forget the rules that were typed", _forget),
    "limit": Command("limit N", f"show at most N answers (0: all; at first {LIMIT})", _limit),
    "quit": Command("quit", "leave", _quit),
}

"""What commands share: where results and remarks go, common options, values from the command line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from rich.console import Console

    from tcrules.engine.ir import Value

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
#: Width where no terminal sets one: nothing is wrapped or cut, so that lines can be searched and piped.
UNLIMITED = 10_000

run_argument = click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
rules_option = click.option(
    "--rules", "rule_files", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="A rule file (.tcr) to check besides the shipped library; can be repeated.",
)  # fmt: skip
library_option = click.option(
    "--library/--no-library", default=True, help="Use the shipped library (default), or only --rules."
)
only_option = click.option(
    "--only", multiple=True, metavar="ID|TAG", help="Only rules with this id or tag; can be repeated."
)
param_option = click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", callback=lambda _c, _p, given: parameters(given),
    help="Set a parameter that a rule file declares; can be repeated.",
)  # fmt: skip


def selection_options(command: Decorated) -> Decorated:
    """The options that select rules."""
    for option in (param_option, only_option, library_option, rules_option):
        command = option(command)
    return command


def limited(command: Decorated) -> Decorated:
    """The options that limit what evaluation may use; the command runs within these limits."""

    @wraps(command)
    def run(
        *args: Any, max_seconds: float | None, max_memory: int | None, max_facts: int | None, **options: Any
    ) -> Any:
        from tcrules.engine.limits import within
        from tcrules.grammar.limits import Limits

        with within(Limits(seconds=max_seconds, memory=max_memory, facts=max_facts)):
            return command(*args, **options)

    limited = cast("Decorated", run)
    for option in (
        click.option("--max-facts", type=click.IntRange(min=1), metavar="N",
                     help="Give up when rules have derived more facts."),
        click.option("--max-memory", metavar="SIZE", callback=lambda _c, _p, given: size(given),
                     help="Give up when evaluation needs more memory, such as 500MB or 4GB."),
        click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), metavar="S",
                     help="Give up after so many seconds."),
    ):  # fmt: skip
        limited = option(limited)
    return limited


def size(given: str | None) -> int | None:
    """Bytes, written as a number with a unit.

    >>> size("2 GB"), size("512MB"), size(None)
    (2147483648, 536870912, None)
    """
    if given is None:
        return None
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMG])(?:i?B)?", given.strip(), re.IGNORECASE)
    if found is None or float(found[1]) == 0:
        raise click.BadParameter(f"'{given}' is not a size such as 500MB or 4GB")
    return int(float(found[1]) * 1024 ** ("KMG".index(found[2].upper()) + 1))


def parameters(given: tuple[str, ...]) -> dict[str, Value]:
    """`name=value` pairs as a dictionary; numbers, `true` and `false` are recognised.

    >>> parameters(("warmup=3", "rate=1e-3", "message=a=b"))
    {'warmup': 3, 'rate': 0.001, 'message': 'a=b'}
    """
    pairs: dict[str, Value] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"'{text}' is not of the form NAME=VALUE")
        pairs[name] = _parameter(value)
    return pairs


def _parameter(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def result_console() -> Console:
    """The console for results: stdout, coloured on a terminal only, and not where NO_COLOR or TERM=dumb say so."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(
        file=sys.stdout, highlight=False, soft_wrap=not terminal, width=None if terminal else UNLIMITED
    )


def remark(text: str) -> None:
    """A line for the user that is no result: stderr."""
    click.echo(text, err=True)


def suggest(command: str, why: str) -> None:
    """Tell the next useful command."""
    remark(f"next: {command}   # {why}")

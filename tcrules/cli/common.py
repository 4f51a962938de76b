"""What commands share: where results and remarks go, common options, values from the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from rich.console import Console

    from tcrules.engine.ir import Value
    from tcrules.grammar.ast import Constant
    from tcrules.grammar.limits import Limits
    from tcrules.selection import Selection

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
#: Width where no terminal sets one: nothing is wrapped or cut, so that lines can be searched and piped.
UNLIMITED = 10_000

run_argument = click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
against_option = click.option(
    "--against", type=click.Path(path_type=Path), metavar="RUN",
    help="A healthy run of the same program: mark where this one parts from it.",
)  # fmt: skip
rules_option = click.option(
    "--rules", "rule_files", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="A rule file (.tcr) to check besides the shipped library; can be repeated.",
)  # fmt: skip
library_option = click.option(
    "--library/--no-library", default=None, help="Use the shipped library (default), or only --rules."
)
only_option = click.option(
    "--only", multiple=True, metavar="ID|TAG", help="Only rules with this id or tag; can be repeated."
)
param_option = click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", callback=lambda _c, _p, given: parameters(given),
    help="Set a parameter that a rule file declares; can be repeated.",
)  # fmt: skip


def selection_options(command: Decorated) -> Decorated:
    """The options that select rules; the command gets what they choose, with the settings, as `chosen`."""

    @wraps(command)
    def run(
        *args: Any, rule_files: tuple[Path, ...], library: bool | None, only: tuple[str, ...],
        params: dict[str, Value], **options: Any,
    ) -> Any:  # fmt: skip
        return command(*args, chosen=selection(rule_files, library, only, params), **options)

    chosen = cast("Decorated", run)
    for option in (param_option, only_option, library_option, rules_option):
        chosen = option(chosen)
    return chosen


def selection(
    rules: tuple[Path, ...] = (),
    library: bool | None = None,
    only: tuple[str, ...] = (),
    params: Mapping[str, Value] | None = None,
) -> Selection:
    """The rules that options, the environment and the settings of the project choose together."""
    from tcrules.config import find_config
    from tcrules.grammar.ast import Constant
    from tcrules.selection import Selection
    from tcrules.settings import settings

    config, own = find_config(), params or {}
    given = {"rules": rules, "library": library, "only": only, "params": own}
    found = {name: setting.value for name, setting in settings(config, given).items()}
    constants, texts = placed(own)
    for name, value in config.values.get("params", {}).items():
        constants.setdefault(name, Constant(value, config.places[f"params.{name}"]))
    texts[str(config.path)] = config.text
    return Selection(found["rules"], found["library"], found["only"], constants, texts)


def placed(params: Mapping[str, Value]) -> tuple[dict[str, Constant], dict[str, str]]:
    """Parameters of the command line as constants that messages can point at, and the texts that they stand in."""
    from tcrules.engine.show import show_value
    from tcrules.grammar.ast import Constant, Span

    constants, texts = {}, {}
    for name, value in params.items():
        text = texts[f"--param {name}"] = f"{name}={show_value(value)}"
        constants[name] = Constant(value, Span(f"--param {name}", 0, len(text), 1, 1))
    return constants, texts


def limited(command: Decorated) -> Decorated:
    """The options that limit what evaluation may use; the command runs within these limits."""

    @wraps(command)
    def run(
        *args: Any, max_seconds: float | None, max_memory: int | None, max_facts: int | None, **options: Any
    ) -> Any:
        from tcrules.engine.limits import within

        with within(limits(max_seconds, max_memory, max_facts)):
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


def limits(seconds: float | None = None, memory: int | None = None, facts: int | None = None) -> Limits:
    """The limits that options, the environment and the settings of the project set together."""
    from tcrules.config import find_config
    from tcrules.grammar.limits import Limits
    from tcrules.settings import settings

    given = {"max-seconds": seconds, "max-memory": memory, "max-facts": facts}
    found = settings(find_config(), given)
    return Limits(**{name.removeprefix("max-"): found[name].value for name in given})


def size(given: str | None) -> int | None:
    """Bytes, written as a number with a unit."""
    from tcrules.settings import Bad
    from tcrules.settings import size as of_text

    try:
        return None if given is None else of_text(given)
    except Bad as bad:
        raise click.BadParameter(f"'{given}' is not {bad.wanted}") from None


def parameters(given: tuple[str, ...]) -> dict[str, Value]:
    """`name=value` pairs as a dictionary; numbers, `true` and `false` are recognised, in double quotes is a string.

    >>> parameters(("warmup=3", "rate=1e-3", "message=a=b", 'version="3"'))
    {'warmup': 3, 'rate': 0.001, 'message': 'a=b', 'version': '3'}
    """
    pairs: dict[str, Value] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"'{text}' is not of the form NAME=VALUE")
        pairs[name] = _parameter(value)
    return pairs


def _parameter(text: str) -> Value:
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
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


def error_console() -> Console:
    """The console for what is told while something goes on: stderr, coloured as the one for results."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def remark(text: str) -> None:
    """A line for the user that is no result: stderr."""
    click.echo(text, err=True)


def suggest(command: str, why: str) -> None:
    """Tell the next useful command."""
    remark(f"next: {command}   # {why}")

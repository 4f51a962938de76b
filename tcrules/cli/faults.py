"""Failures as messages: what, where, why, how to mend. A user sees a traceback only when asking for one."""

from __future__ import annotations

import os
import sys
import traceback
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tcrules.grammar.diagnostics import TcrError

#: Set to see the traceback of any failure.
DEBUG = "TCRULES_DEBUG"


class Refusal(click.ClickException):
    """The command could not do its work; exit code 2."""

    exit_code = 2

    def __init__(self, message: str, help_text: str = "") -> None:
        super().__init__(message)
        self.help_text = help_text

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the message to stderr."""
        click.echo(self.message, file=file, err=True)
        if self.help_text:
            click.echo(f"help: {self.help_text}", file=file, err=True)


def refusal(error: Exception) -> Refusal:
    """The message for a failure that a command did not foresee itself."""
    from tcrules.engine.files.faults import FileFaults
    from tcrules.engine.limits import EvaluationLimit
    from tcrules.engine.store import StoreFault
    from tcrules.grammar.diagnostics import TcrError
    from tcrules.instrument.errors import RunError
    from tcrules.rules.infer import InferError
    from tcrules.selection import SelectionError

    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    if isinstance(error, EvaluationLimit):
        return Refusal(f"error: {error}", "ask for less, or raise --max-seconds, --max-memory or --max-facts")
    if isinstance(error, MemoryError):
        return Refusal(
            "error: the memory of the machine does not suffice", "ask for less, or set --max-memory"
        )
    if isinstance(error, UnicodeDecodeError):
        return Refusal(
            f"error: not UTF-8 text: {error.reason} at byte {error.start}", "save the file as UTF-8"
        )
    if isinstance(error, TcrError):
        return Refusal(_rendered(error))
    if isinstance(error, (RunError, SelectionError, InferError)):
        return Refusal(f"error: {error.message}", error.help)
    if isinstance(error, FileFaults):
        return Refusal(f"error: facts cannot be read\n{error}", error.help)
    if isinstance(error, StoreFault):
        return Refusal(f"error: {error}", "check the run folder, or record the run again")
    if isinstance(error, OSError):
        where = f" '{error.filename}'" if error.filename else ""
        return Refusal(f"error: {error.strerror or error}{where}")
    return Refusal(
        f"error: tcrules itself failed: {type(error).__name__}: {error}",
        f"this is a fault of tcrules; please report it with the output of {DEBUG}=1 tcrules …",
    )


def _rendered(error: TcrError) -> str:
    from tcrules.grammar.render import render

    faults = [diagnostic for diagnostic in error.diagnostics if diagnostic.severity == "error"]
    return render(faults, error.sources, color=sys.stderr.isatty() and "NO_COLOR" not in os.environ)

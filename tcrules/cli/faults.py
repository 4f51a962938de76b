"""Failures as messages: what, where, why, how to mend. A user sees a traceback only when asking for one."""

from __future__ import annotations

import os
import traceback
from typing import IO, Any

import click

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
    from tcrules.grammar.diagnostics import TcrError
    from tcrules.instrument.errors import RunError

    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    if isinstance(error, TcrError):
        return Refusal(rendered(error))
    if isinstance(error, RunError):
        return Refusal(f"error: {error.message}", error.help)
    if isinstance(error, OSError):
        where = f" '{error.filename}'" if error.filename else ""
        return Refusal(f"error: {error.strerror or error}{where}")
    return Refusal(
        f"error: tcrules itself failed: {type(error).__name__}: {error}",
        f"this is a fault of tcrules; please report it with the output of {DEBUG}=1 tcrules …",
    )

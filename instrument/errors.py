"""The error of this room that a user sees."""

from __future__ import annotations


class RunError(Exception):
    """A run folder or a command cannot be used.

    Attributes:
        message: what is wrong and why, one sentence.
        help: what the user can do about it; "" where there is nothing to say.
    """

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(f"{message}\nhelp: {help}" if help else message)
        self.message = message
        self.help = help

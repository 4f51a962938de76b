"""The prompt on a terminal: history, completion, colours, several lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer

from tcrules.cli.faults import refusal
from tcrules.cli.prompt.commands import COMMANDS, Prompt, handle, is_complete
from tcrules.grammar.pygments_lexer import TcrLexer
from tcrules.names import complete

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prompt_toolkit.document import Document

    from tcrules.cli.prompt.session import Session


def converse(session: Session) -> None:
    """Read and answer until Ctrl-D or ?quit. What fails is told, and the conversation goes on."""
    prompt = Prompt(session)
    lines: PromptSession[str] = PromptSession(
        "tcrules> ",
        history=_history(),
        completer=_Completer(session),
        complete_while_typing=False,
        lexer=PygmentsLexer(TcrLexer),
        key_bindings=_keys(),
        multiline=True,
        prompt_continuation="      .. ",
    )
    click.echo("Goals, rules, or ?help; Ctrl-D leaves.", err=True)
    while prompt.open:
        try:
            text = lines.prompt()
        except KeyboardInterrupt:  # drops the line
            continue
        except EOFError:
            return
        _answer(prompt, text)


def _answer(prompt: Prompt, text: str) -> None:
    try:
        handle(prompt, text)
    except KeyboardInterrupt:
        _cancelled(prompt)
    except click.ClickException as error:
        click.echo(error.format_message(), err=True)
    except Exception as error:
        # DuckDB turns the interrupt of a statement into an error of its own.
        if "interrupt" in str(error).lower():
            _cancelled(prompt)
        else:
            refusal(error).show()


def _cancelled(prompt: Prompt) -> None:
    prompt.session.forget_results()
    click.echo("cancelled", err=True)


def _history() -> History:
    """The history of this user; in memory where no file can be written."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    folder = Path(state).expanduser() / "tcrules"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / "history"
        path.touch(mode=0o600)
        with path.open("a"):
            return FileHistory(str(path))
    except OSError:
        return InMemoryHistory()


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        text = buffer.text
        if is_complete(text) or not text.strip() or text.endswith("\n"):  # an empty line ends anything
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return keys


class _Completer(Completer):
    def __init__(self, session: Session) -> None:
        self.session = session

    def get_completions(self, document: Document, _: CompleteEvent) -> Iterator[Completion]:
        """Words after `?`, else names of the rule language."""
        text = document.text_before_cursor
        if text.startswith("?") and " " not in text:
            for word in COMMANDS:
                if word.startswith(text[1:]):
                    yield Completion(word, 1 - len(text))
            return
        if text.startswith("?"):
            text = text.partition(" ")[2]
        for found in complete(text, self.session.names):
            yield Completion(found.text, -found.length, display_meta=found.kind)

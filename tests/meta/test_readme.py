"""What the README says is there: commands, options, folders."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from tcrules.cli.main import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "examples").glob("*/README.md"))]
LINE = re.compile(r"^\s*(?:\$ )?tcrules (?P<rest>\S.*?)(?:\s+#.*)?$", re.MULTILINE)


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"```(?:console|sh|bash)?\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [match["rest"] for block in blocks for match in LINE.finditer(block)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path):
    for line in commands(page):
        name, *rest = shlex.split(line)
        if name.startswith("-"):
            continue
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, line
        if isinstance(command, click.Group) and rest:
            command = command.get_command(click.Context(command), rest[0]) or command
        known = {
            option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for word in rest:
            if word == "--":
                break
            assert not word.startswith("-") or word.split("=")[0] in known, line


def test_folders_exist():
    text = PAGES[0].read_text(encoding="utf-8")
    for folder in re.findall(r"^\| `([\w./-]+/)`", text, re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples(name: str):
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.epilog and f"tcrules {name}" in command.epilog
    assert command.help

"""The command `tcrules`: a group whose commands are imported only when they are called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import NamedTuple

import click

from tcrules import __version__

#: Exit code of a command that Ctrl-C ended, as shells have it: 1 would mean that there are violations.
INTERRUPTED = 130


class Entry(NamedTuple):
    """Where a command lives and what it does in a few words."""

    module: str
    short_help: str


#: Commands in the order of their use. The words stand here so that `--help` imports none of them.
COMMANDS: dict[str, Entry] = {
    "run": Entry("run", "Record a training command, then check it."),
    "record": Entry("record", "Record a training command into a run folder."),
    "check": Entry("check", "Check a recorded run against rules."),
    "explain": Entry("explain", "Show why something is a violation, or why not."),
    "report": Entry("report", "Write a page about a recorded run."),
    "serve": Entry("serve", "Browse recorded runs."),
    "diff": Entry("diff", "Show how two runs differ."),
    "query": Entry("query", "Ask a recorded run for facts."),
    "infer": Entry("infer", "Learn rules from healthy runs."),
    "import": Entry("import_", "Turn traces and files from elsewhere into a run."),
    "runs": Entry("runs", "List recorded runs, or remove some."),
    "compact": Entry("compact", "Rewrite runs in their smallest form."),
    "rules": Entry("rules", "List the shipped rules, or show one."),
    "test": Entry("test", "Run the tests of rules."),
    "lint": Entry("lint", "Find rules that are sound, but hardly meant."),
    "fmt": Entry("fmt", "Format rule files."),
    "show": Entry("show", "Print a stage of the compilation of a rule file."),
    "lsp": Entry("lsp", "Serve editors (language server)."),
    "demo": Entry("demo", "Find and explain the fault in a small training script."),
}

EPILOG = """\b
Start here:
  tcrules demo
  tcrules run -- python train.py
  tcrules check runs/latest --rules project.tcr

Exit codes: 0 nothing found, 1 violations, 2 could not do it.
"""


class LazyGroup(click.Group):
    """Imports a command when it is asked for and turns every foreseeable failure into a message."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"tcrules.cli.{COMMANDS[cmd_name].module}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean '{near[0]}'?" if near else f" Commands: {', '.join(COMMANDS)}."
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.short_help) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("tcrules: interrupted", err=True)
            sys.exit(INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            from tcrules.cli.faults import refusal

            raise refusal(error) from error


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="tcrules")
def cli() -> None:
    """Find silent training errors: trace a PyTorch run, check it against rules, explain what is wrong."""


def main() -> None:
    """Entry point of the console script."""
    # A pipe that is closed early (`tcrules query … | head`) is no fault of anybody; click exits quietly with 1.
    cli.main(args=sys.argv[1:], prog_name="tcrules")

"""The command, in this process, as several tests use it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from tcrules.cli.main import cli


def command(*words: object) -> Result:
    """Run the command with these words."""
    return CliRunner().invoke(cli, [str(word) for word in words])


def statuses_of(run: Path, rules: Path, exit_code: int) -> dict[str, str]:
    """Check a run against a file of rules alone; returns the status of each rule."""
    done = command("check", run, "--no-library", "--rules", rules, "--format", "json")
    assert done.exit_code == exit_code, done.output
    return {name: verdict["status"] for name, verdict in json.loads(done.stdout)["verdicts"].items()}

"""Settings of a project: where they are found, what counts before what, and what is said about mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tcrules.grammar.diagnostics import TcrError

from tcrules.cli.main import cli
from tcrules.config import find_config
from tcrules.settings import KINDS, settings

RULES = """
param least: int = 0
param rate: float = 1.0
param word: string = "a"
invariant steps-are-late @error {
    each    step(step: S), $rate > 0.0, $word != ""
    expect  S >= $least
    message "{S}"
}
"""


def call(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], env=environment)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a rule file; the working folder is two levels below."""
    (tmp_path / "project.tcr").write_text(RULES)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    return tmp_path


def faults(text: str, home: Path, name: str = "tcrules.toml") -> list[tuple[str, int, str]]:
    (home / name).write_text(text)
    with pytest.raises(TcrError) as caught:
        find_config()
    return [(f.code, f.labels[0].span.line, f.message) for f in caught.value.diagnostics]


# ------------------------------------------------------------------------------------------------ where


def test_without_a_file_everything_is_a_default(home: Path):
    found = settings(find_config(), {}, {})
    assert {name: s.value for name, s in found.items()} == {
        name: kind.default for name, kind in KINDS.items() if name != "params"
    }
    assert {s.origin for s in found.values()} == {"default"}


def test_the_nearest_folder_counts(home: Path):
    (home / "tcrules.toml").write_text("library = false\n")
    assert find_config().path == home / "tcrules.toml"
    (home / "a" / "pyproject.toml").write_text("[project]\nname = 'tcrules-user'\n")
    assert find_config().path == home / "tcrules.toml"
    (home / "a" / "pyproject.toml").write_text("[tool.tcrules]\nlibrary = true\n")
    assert find_config().path == home / "a" / "pyproject.toml"


def test_two_files_in_one_folder(home: Path):
    (home / "pyproject.toml").write_text("[project]\nname = 'x'\n\n[tool.tcrules]\n")
    ((code, line, message),) = faults("", home)
    assert (code, line) == ("TCR703", 4)
    assert "tcrules.toml" in message
    assert "pyproject.toml" in message


def test_a_broken_file_of_others_is_theirs(home: Path):
    (home / "pyproject.toml").write_text("[project\nname = 'tcrules'\n")
    assert find_config().path is None
    ((code, line, _),) = faults("[tool.tcrules]\nlibrary = \n", home, "pyproject.toml")
    assert (code, line) == ("TCR703", 2)


# ------------------------------------------------------------------------------------------------ what counts


def test_order_of_sources(home: Path):
    (home / "tcrules.toml").write_text(
        'rules = ["project.tcr"]\nlibrary = false\nonly = ["x"]\nmax-memory = "2GB"\nmax-facts = 5\n'
        "[params]\nleast = 3\n"
    )
    environment = {"TCRULES_ONLY": "y, z", "TCRULES_MAX_FACTS": "6", "TCRULES_RULES": "env.tcr"}
    given = {
        "max-facts": 7,
        "library": True,
        "rules": (Path("own.tcr"),),
        "params": {"least": 4, "rate": 0.5},
    }
    found = {name: (s.value, s.origin) for name, s in settings(find_config(), given, environment).items()}
    file = home / "tcrules.toml"
    assert found == {
        "rules": ((Path("../../project.tcr"), Path("own.tcr")), f"{file}:1, --rules"),
        "library": (True, "--library"),
        "only": (("y", "z"), "TCRULES_ONLY"),
        "params.least": (4, "--param"),
        "params.rate": (0.5, "--param"),
        "max-seconds": (None, "default"),
        "max-memory": (2 * 1024**3, f"{file}:4"),
        "max-facts": (7, "--max-facts"),
    }


def test_a_rule_file_that_is_named_twice_is_read_once(home: Path, runs: Path):
    (home / "tcrules.toml").write_text('rules = ["project.tcr"]\nlibrary = false\n')
    result = call("check", runs / "fixed", "--rules", home / "project.tcr")
    assert result.exit_code == 0, result.output


def test_commands_use_the_settings(home: Path, runs: Path):
    (home / "tcrules.toml").write_text('rules = ["project.tcr"]\nlibrary = false\n[params]\nleast = 3\n')
    result = call("check", runs / "fixed", "--format", "json")
    assert result.exit_code == 1, result.output
    (violation,) = json.loads(result.stdout)["violations"]
    assert (violation["rule"], violation["count"]) == ("steps-are-late", 3)
    assert call("check", runs / "fixed", "--param", "least=0").exit_code == 0
    assert "steps-are-late" in call("explain", runs / "fixed").output
    assert call("query", runs / "fixed", "step(step: S), S < $least", "--format", "csv").stdout.split() == [
        "S",
        "0",
        "1",
        "2",
    ]
    assert (
        len(json.loads(call("check", runs / "fixed", "--library", "--format", "json").stdout)["verdicts"]) > 1
    )
    assert call("check", runs / "fixed", "--format", "json", TCRULES_LIBRARY="true").exit_code == 1


def test_limits_come_from_the_settings(home: Path, monkeypatch: pytest.MonkeyPatch, runs: Path):
    (home / "tcrules.toml").write_text('max-seconds = 30\nmax-memory = "3GB"\n')
    seen = []
    from tcrules.engine import limits

    import tcrules.checking

    open_run = tcrules.checking.open_run
    monkeypatch.setattr(
        tcrules.checking, "open_run", lambda p: (seen.append(limits.current()), open_run(p))[1]
    )
    call("check", runs / "fixed", "--max-seconds", "40")
    call("explain", runs / "fixed")
    call("query", runs / "fixed", "step(step: S)")
    limits_seen = [(found.seconds, found.memory) for found in seen]
    assert limits_seen == [(40.0, 3 * 1024**3), (30.0, 3 * 1024**3), (30.0, 3 * 1024**3)]


def test_show_config(home: Path):
    (home / "tcrules.toml").write_text('library = false\nparams = { word = "x" }\n')
    result = call("show", "config", TCRULES_ONLY="optimizer")
    rows = [line.split(maxsplit=2) for line in result.stdout.splitlines()]
    assert ["library", "false", f"{home}/tcrules.toml:1"] in [[cell.strip() for cell in row] for row in rows]
    assert ["only", "optimizer", "TCRULES_ONLY"] in [[cell.strip() for cell in row] for row in rows]
    assert ["params.word", '"x"', f"{home}/tcrules.toml:2"] in [
        [cell.strip() for cell in row] for row in rows
    ]
    assert ["max-facts", "none", "default"] in [[cell.strip() for cell in row] for row in rows]


# ------------------------------------------------------------------------------------------------ mistakes


def test_all_mistakes_of_a_file_are_told(home: Path):
    text = (
        'rule = ["x"]\nlibrary = "no"\nonly = "x"\nrules = [1]\nmax-seconds = true\nmax-facts = 0\n'
        'max-memory = "many"\n[params]\n  day = 2020-01-01\n'
    )
    found = faults(text, home)
    assert [(code, line) for code, line, _ in found] == [
        ("TCR701", 1),
        ("TCR702", 2),
        ("TCR702", 3),
        ("TCR702", 4),
        ("TCR702", 5),
        ("TCR702", 6),
        ("TCR702", 7),
        ("TCR702", 9),
    ]
    assert "`params.day`" in found[-1][2]
    assert faults("[tool.tcrules]\nlibary = true\n", home / "a", "pyproject.toml") == [
        ("TCR701", 2, "unknown setting `tool.tcrules.libary`")
    ]
    assert faults("[tool]\ntcrules = 3\n", home / "a", "pyproject.toml")[0][:2] == ("TCR701", 2)


def test_an_unusable_value_in_the_environment(home: Path, runs: Path):
    for name, value in {
        "LIBRARY": "maybe",
        "MAX_FACTS": "x",
        "MAX_SECONDS": "nan",
        "MAX_MEMORY": "7",
    }.items():
        result = call("check", runs / "fixed", **{f"TCRULES_{name}": value})
        assert result.exit_code == 2
        assert f"the environment variable `TCRULES_{name}` must be" in result.stderr


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            "lest=3",
            ["TCR208", "no rule file has a parameter `lest`", "did you mean `least`?", "--param lest:1:1"],
        ),
        ("least=abc", ["TCR216", "its type is int", "project.tcr:2:1", 'least="abc"']),
        ("least=1.5", ["TCR216", "its type is int"]),
        ("least=99999999999999999999", ["TCR216", "integers have 64 bits"]),
        ("rate=true", ["TCR216", "its type is float"]),
        ("word=3", ["TCR216", "its type is string", """'word="…"'"""]),
        ("word", ["NAME=VALUE"]),
    ],
)
def test_parameters_of_the_command_line(home: Path, runs: Path, given: str, words: list[str]):
    result = call("check", runs / "fixed", "--no-library", "--rules", home / "project.tcr", "--param", given)
    assert result.exit_code == 2
    for word in words:
        assert word in result.stderr, result.stderr


@pytest.mark.parametrize(
    "given", ["least=-9223372036854775808", "rate=3", "rate=inf", 'word="3"', "word=x=y"]
)
def test_good_parameters(home: Path, runs: Path, given: str):
    result = call("check", runs / "fixed", "--no-library", "--rules", home / "project.tcr", "--param", given)
    assert result.exit_code == 0, result.output


def test_parameters_of_the_file(home: Path, runs: Path):
    (home / "tcrules.toml").write_text(
        'rules = ["project.tcr"]\nlibrary = false\n\n[params]\nleast = "x"\n"rte" = 2.0\n'
    )
    result = call("check", runs / "fixed")
    assert result.exit_code == 2
    for word in (
        f"{home}/tcrules.toml:5:1",
        "its type is int",
        f"{home}/tcrules.toml:6:1",
        "did you mean `rate`?",
    ):
        assert word in result.stderr, result.stderr

"""The package as it is built: every folder with code is in the wheel, and importing it costs next to nothing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "duckdb", "lark", "numpy", "networkx", "sqlglot", "rich")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def packages_on_disk() -> set[str]:
    found = set()
    for package, folder in SETTINGS["package-dir"].items():
        for marker in (ROOT / folder).rglob("__init__.py"):
            below = marker.parent.relative_to(ROOT / folder).parts
            found.add(".".join([package, *below]))
    return found


def test_every_package_is_listed():
    # A package that is not listed works in a development install and is absent from the wheel.
    assert sorted(SETTINGS["packages"]) == sorted(packages_on_disk())


def test_every_data_file_is_shipped():
    shipped = {
        file
        for package, patterns in SETTINGS["package-data"].items()
        for pattern in patterns
        for file in _folder(package).glob(pattern)
    }
    suffixes = (".tcr", ".tcr-test", ".lark", ".json")
    data = {
        file
        for folder in SETTINGS["package-dir"].values()
        for file in (ROOT / folder).rglob("*")
        if file.suffix in suffixes
    }
    assert data <= shipped


def _folder(package: str) -> Path:
    names = package.split(".")
    for length in range(len(names), 0, -1):
        folder = SETTINGS["package-dir"].get(".".join(names[:length]))
        if folder is not None:
            return ROOT.joinpath(folder, *names[length:])
    raise AssertionError(f"{package} is in no folder of package-dir")


@pytest.mark.parametrize(
    "statement", ["import tcrules", "import tcrules.cli.main", "import tcrules.instrument"]
)
def test_import_is_light(statement: str, tmp_path: Path):
    code = f"{statement}; import sys; print(*sorted(set(sys.modules) & {set(HEAVY)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.split() == []


def test_help_is_light(tmp_path: Path):
    code = (
        "import sys; from click.testing import CliRunner; from tcrules.cli.main import cli; "
        f"assert CliRunner().invoke(cli, ['--help']).exit_code == 0; print(*sorted(set(sys.modules) & {set(HEAVY)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.split() == []


def test_public_names_exist():
    import tcrules

    for name in tcrules.__all__:
        assert getattr(tcrules, name) is not None
    assert tcrules.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    with pytest.raises(AttributeError, match="no attribute 'chekc'"):
        tcrules.chekc  # noqa: B018

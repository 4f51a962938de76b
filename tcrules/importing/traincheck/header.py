"""What a trace folder says about itself, apart from its records. Environment variables in it are not read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: File that lists the arguments of the collection, and then the environment.
ARGUMENTS, ENVIRONMENT = "env_dump.txt", "Environment Variables"
#: Exists where only functions that invariants name were traced.
SELECTION = "instr_opts.json"
_ENABLED, _DISABLED = (
    b"Functions instrumented with trace dumping enabled",
    b"Functions instrumented with trace dumping",
)
_MOST_LINES = 200
_TORCH = re.compile(r"(?:^|_)torch_(\d[^_]*)")


@dataclass(frozen=True, slots=True)
class Header:
    """How a trace was collected, as far as it says.

    Attributes:
        script: the training script, "" = unknown.
        interval, warm_up: of the steps after `warm_up` only every `interval`-th was traced.
        selective: only functions that certain invariants need were traced.
        compiled: calls inside of compiled code were not traced.
        python, torch: versions, "" = unknown.
    """

    script: str = ""
    interval: int = 1
    warm_up: int = 1
    selective: bool = False
    compiled: bool = False
    python: str = ""
    torch: str = ""

    def traced(self, step: int) -> bool:
        """Whether a step was meant to be traced."""
        return step < self.warm_up or (step - self.warm_up) % max(self.interval, 1) == 0


def read_header(folder: Path) -> Header:
    """Read what the folder says about itself; whatever is missing has its default."""
    said = _arguments(folder / ARGUMENTS)
    version = _TORCH.search(folder.resolve().name)
    return Header(
        script=said.get("pyscript", ""),
        interval=_number(said.get("sampling_interval")),
        warm_up=_number(said.get("warm_up_steps")),
        selective=(folder / SELECTION).exists(),
        compiled=said.get("use_torch_compile") == "True",
        python=said.get("python", ""),
        torch=version[1] if version else "",
    )


def _arguments(path: Path) -> dict[str, str]:
    said: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for _, line in zip(range(_MOST_LINES), file, strict=False):
                if line.startswith(ENVIRONMENT):
                    break
                name, colon, value = line.partition(": ")
                if colon:
                    said[name.strip()] = value.strip()
    except OSError:
        pass
    return said


def _number(said: str | None) -> int:
    return int(said) if said is not None and said.isdigit() and int(said) > 0 else 1


def traced_functions(folder: Path, pid: int) -> frozenset[str] | None:
    """Functions that were instrumented in a process, None where its log does not tell."""
    names: set[str] = set()
    inside = False
    try:
        with (folder / f"instrumentation_{pid}.log").open("rb") as file:
            for line in file:
                if line.startswith(_DISABLED):
                    inside = line.startswith(_ENABLED)
                elif inside:
                    names.add(line.strip().decode("utf-8", "replace"))
    except OSError:
        return None
    return frozenset(names) or None

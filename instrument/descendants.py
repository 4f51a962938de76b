"""The processes that a process has started."""

from __future__ import annotations

import os
import subprocess


def descendants(pid: int) -> list[int]:
    """Return the children of a process, their children, and so on; none where the system does not tell."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found, waiting = [], [pid]
    while waiting:
        for child in children.pop(waiting.pop(), ()):
            found.append(child)
            waiting.append(child)
    return found


def _parents() -> list[tuple[int, int]]:
    """All processes as (id, id of the parent)."""
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        names = []
    found = [(int(name), parent) for name in names if (parent := _parent(name)) is not None]
    return found or _listed()


def _parent(name: str) -> int | None:
    try:
        with open(f"/proc/{name}/stat", "rb") as file:
            # the name of the program, in brackets, may hold blanks and brackets
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _listed() -> list[tuple[int, int]]:
    """The same where there is no /proc."""
    try:
        done = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, timeout=10)
        rows = [line.split() for line in done.stdout.splitlines()]
        return [(int(child), int(parent)) for child, parent in rows]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []

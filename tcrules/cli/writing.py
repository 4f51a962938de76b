"""Files that a command writes: whole, or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from tcrules.cli.faults import Refusal

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text file in the place of what was there, which stays as it is if that fails; devices are written to.

    What cannot be UTF-8 becomes a question mark.

    Raises:
        Refusal: the file cannot be written.
    """
    target = path.resolve()  # a link stays a link
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8", errors="replace")
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8", errors="replace")
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o777)
        os.replace(temporary, target)
    except BaseException as fault:  # Ctrl-C as well
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(fault, OSError):
            raise
        raise Refusal(
            f"error: '{path}' cannot be written: {fault.strerror or fault}", "give another file with -o"
        ) from fault

"""Reading the variables of running functions leaves nothing behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
from tcrules.instrument.frames import variables


class Thing:
    pass


def test_arguments_and_locals():
    def function(a: int, *rest: int, key: str = "k", **more: int) -> Any:
        b = a + 1
        captured = 5
        found = variables(sys._getframe())
        late = (lambda: captured)()
        return found, b, late

    found = function(1, 2, x=3)[0]
    assert found == {"a": 1, "rest": (2,), "key": "k", "more": {"x": 3}, "b": 2}
    assert variables(sys._getframe(0))["found"] is found


def test_nothing_is_kept_alive_and_locals_stay_as_they_were():
    def function() -> bool:
        before = locals()
        thing = Thing()
        seen = weakref.ref(thing)
        assert variables(sys._getframe())["thing"] is thing
        del thing
        gc.collect()
        assert before == {}
        return seen() is None

    assert function()


def test_a_module_and_a_generator():
    names: dict[str, Any] = {}
    exec("import sys\nx = 3\ny = variables(sys._getframe())['x']", {"variables": variables}, names)
    assert names["y"] == 3

    def generator(a: int) -> Any:
        yield variables(sys._getframe())["a"]

    assert list(generator(7)) == [7]


OTHERS = sorted(
    Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob("versions/3.1[2-9]*/bin/python")
)


@pytest.mark.skipif(not OTHERS, reason="no other interpreter is installed")
@pytest.mark.parametrize("python", OTHERS, ids=lambda path: path.parts[-3])
def test_on_other_interpreters(python: Path, tmp_path: Path):
    source = Path(variables.__code__.co_filename).read_text(encoding="utf-8")
    check = """
import weakref
class Thing: pass
def function(a, *, b=2):
    before = locals()
    thing = Thing()
    seen = weakref.ref(thing)
    found = variables(sys._getframe())
    assert found["a"] == 1 and found["b"] == 2 and found["thing"] is thing and "never" not in found
    del thing, found
    assert seen() is None and list(before) == ["a", "b"]
    if a is None:
        never = 1
function(1)
print("fine")
"""
    script = tmp_path / "check.py"
    script.write_text(source + check)
    done = subprocess.run([python, script], capture_output=True, text=True)
    assert done.stdout == "fine\n", done.stderr

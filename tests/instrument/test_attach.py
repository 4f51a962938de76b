"""Recording a command changes nothing about it, whatever it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tcrules.instrument import attach, open_run
from tcrules.instrument.errors import RunError
from tcrules.instrument.runs import RunFolder

#: Stands for torch: importing it starts the session, and takes no seconds.
FAKE_TORCH = "__version__ = '0.0-fake'\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(FAKE_TORCH)
    monkeypatch.chdir(tmp_path)
    for name in ("TCRULES_RUN", "PYTHONPATH", "RANK"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def script(place: Path, text: str, name: str = "train.py") -> str:
    (place / name).write_text(textwrap.dedent(text))
    return str(place / name)


def record(place: Path, *command: str, **options: Any) -> tuple[int, RunFolder]:
    code = attach.launch(command, place / "run", **options)
    return code, open_run(place / "run")


def mine(folder: RunFolder, columns: str = "x") -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        path = str(folder.facts / "mine.parquet")
        return connection.execute(f"SELECT {columns} FROM read_parquet(?) ORDER BY x", [path]).fetchall()


#: A recorder in a process of its own.
RUNNER = """
import sys
from pathlib import Path
from tcrules.instrument.attach import launch
sys.exit(launch({!r}, Path("run")))
"""
EMIT = "import torch, tcrules\ntcrules.emit('mine', x={})\n"


def test_a_script_is_recorded_and_sees_no_difference(place: Path, capfd: pytest.CaptureFixture[str]):
    show = """
import sys
print(sys.argv, __file__, sys.path, [name for name in sys.modules if "custom" in name])
"""
    path = script(
        place,
        show
        + EMIT.format(1)
        + "print(type(torch.__spec__.loader), torch.__loader__.exec_module.__qualname__)",
    )
    command = [sys.executable, path, "--lr", "0.1"]
    subprocess.run(command, check=True)
    plain = capfd.readouterr()
    code, folder = record(place, *command)
    traced = capfd.readouterr()
    assert code == 0 and mine(folder) == [(1,)]
    hidden = "'sitecustomize'"  # some systems have one, too
    assert traced.out.replace(hidden, "") == plain.out.replace(hidden, "")
    assert folder.manifest.status == "finished" and folder.manifest.torch == "0.0-fake"
    assert "tcrules" not in traced.err


@pytest.mark.parametrize(
    ("end", "code", "status"),
    [
        ("raise SystemExit(3)", 3, "failed"),
        ("1 / 0", 1, "failed"),
        ("import os; os._exit(7)", 7, "failed"),
        ("import os; os.kill(os.getpid(), 9)", 137, "killed"),
        ("import os; os.abort()", 134, "killed"),
    ],
)
def test_scripts_that_fail(place: Path, end: str, code: int, status: str):
    found, folder = record(place, sys.executable, script(place, EMIT.format(1) + end))
    assert (found, folder.manifest.status, folder.manifest.exit_code) == (code, status, code)
    assert mine(folder) == [(1,)]


def test_streams_are_passed_through(place: Path):
    path = script(place, "import sys; sys.stdout.buffer.write(bytes(range(256)) + sys.stdin.buffer.read())")
    runner = RUNNER.format([sys.executable, path])
    result = subprocess.run([sys.executable, "-c", runner], input=b"\0\xff", capture_output=True, check=True)
    assert result.stdout == bytes(range(256)) + b"\0\xff" and result.stderr == b""
    assert open_run("run").notes == ("no process that trains was traced",)


def test_forks_spawns_and_shells_are_recorded(place: Path):
    path = script(
        place,
        """
        import multiprocessing, os, subprocess, sys, torch, tcrules
        def work(x):
            tcrules.emit("mine", x=x)
        if __name__ == "__main__":
            work(1)
            for x, method in ((2, "fork"), (3, "spawn")):
                child = multiprocessing.get_context(method).Process(target=work, args=(x,))
                child.start(); child.join()
            if os.fork() == 0:
                work(4)
                os._exit(0)
            os.wait()
            os.system(f"{sys.executable} -c 'import torch, tcrules; tcrules.emit(\\"mine\\", x=5)'")
        """,
    )
    _, folder = record(place, sys.executable, path)
    assert mine(folder) == [(1,), (2,), (3,), (4,), (5,)]
    assert len(folder.manifest.processes) == 5


def test_ranks_by_the_launchers_variables(place: Path):
    script(place, EMIT.format("int(__import__('os').environ['RANK'])"))
    _, folder = record(
        place, "sh", "-c", f"RANK=1 {sys.executable} train.py; RANK=0 {sys.executable} train.py"
    )
    assert mine(folder, "x, rank") == [(0, 0), (1, 1)]


@pytest.mark.parametrize("signals", [(signal.SIGTERM,), (signal.SIGINT,)])
def test_signals_reach_the_command(place: Path, signals: tuple[signal.Signals, ...]):
    body = EMIT.format(1) + "open('ready', 'w').close()\nimport time\ntime.sleep(60)"
    path = script(place, body)
    runner = RUNNER.format([sys.executable, path])
    process = subprocess.Popen(
        [sys.executable, "-c", runner], stderr=subprocess.DEVNULL, start_new_session=True
    )
    while not Path("ready").exists():
        time.sleep(0.02)
    process.send_signal(signals[0])
    assert process.wait(20) == 128 + signals[0]
    assert mine(open_run("run")) == [(1,)]


def test_commands_that_cannot_start(place: Path):
    (place / "train.py").write_text("print(1)")
    for command in ([], ["no-such-command"], ["./train.py"]):
        with pytest.raises(RunError) as caught:
            attach.launch(command, place / "run")
        assert caught.value.help
    (place / "bad").write_bytes(b"\x7fELFjunk")
    (place / "bad").chmod(0o755)
    with pytest.raises(RunError):
        attach.launch(["./bad"], place / "run")
    assert not (place / "run").exists()


def test_a_script_that_does_not_exist(place: Path, capfd: pytest.CaptureFixture[str]):
    code, folder = record(place, sys.executable, "nowhere.py")
    assert code == 2 and "nowhere.py" in capfd.readouterr().err and folder.manifest.status == "failed"


def test_existing_folders_are_respected(place: Path):
    path = script(place, EMIT.format(1))
    (place / "run").mkdir()
    (place / "run" / "thesis.tex").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(RunError, match="no run folder"):
            attach.launch([sys.executable, path], place / "run", overwrite=overwrite)
    (place / "run" / "run.json").write_text("{}")
    with pytest.raises(RunError, match="another program"):
        attach.launch([sys.executable, path], place / "run", overwrite=True)
    assert (place / "run" / "thesis.tex").read_text() == "precious"
    for name in ("thesis.tex", "run.json"):
        (place / "run" / name).unlink()
    assert record(place, sys.executable, path)[0] == 0
    with pytest.raises(RunError, match="exists"):
        attach.launch([sys.executable, path], place / "run")
    assert record(place, sys.executable, script(place, EMIT.format(2)), overwrite=True)[0] == 0
    assert mine(open_run(place / "run")) == [(2,)]


def test_the_users_sitecustomize_runs(place: Path, monkeypatch: pytest.MonkeyPatch):
    (place / "custom").mkdir()
    (place / "custom" / "sitecustomize.py").write_text("import builtins\nbuiltins.chained = __file__\n")
    monkeypatch.setenv("PYTHONPATH", str(place / "custom"))
    path = script(
        place, EMIT.format("1") + "import sitecustomize\nassert chained == sitecustomize.__file__, chained\n"
    )
    code, folder = record(place, sys.executable, path)
    assert code == 0 and mine(folder) == [(1,)]


def test_an_import_of_torch_that_fails_fails_as_before(place: Path):
    (place / "torch" / "__init__.py").write_text("import os\nos.environ['OK']\n")
    start = """
import os
try:
    import torch
except KeyError as fault:
    assert fault.args == ("OK",)
os.environ["OK"] = "1"
"""
    code, folder = record(place, sys.executable, script(place, start + EMIT.format(1)))
    assert code == 0 and mine(folder) == [(1,)]


def test_an_interpreter_without_tcrules_is_recorded(place: Path):
    """`-S` leaves out site-packages; PYTHONPATH still counts when the test asks for it."""
    path = script(place, "import sitecustomize\n" + EMIT.format(1))
    code, folder = record(place, sys.executable, "-S", path)
    assert code == 0 and mine(folder) == [(1,)]


def test_a_process_without_torch_leaves_nothing(place: Path):
    path = script(place, "import sys, tcrules\ntcrules.emit('mine', x=1)\nassert 'numpy' not in sys.modules")
    code, folder = record(place, sys.executable, path)
    assert code == 0 and "mine" not in folder.relations()


def test_a_broken_recorder_does_not_stop_training(place: Path, capfd: pytest.CaptureFixture[str]):
    (place / "broken" / "tcrules" / "instrument").mkdir(parents=True)
    for folder in ("tcrules", "tcrules/instrument"):
        (place / "broken" / folder / "__init__.py").write_text("")
    (place / "broken" / "tcrules" / "instrument" / "session.py").write_text("raise RuntimeError('broken')")
    variables = attach.environment(place / "run")
    variables["PYTHONPATH"] = f"{attach.STARTUP}{os.pathsep}{place / 'broken'}"
    result = subprocess.run(
        [sys.executable, "-c", "import torch; print('trained')"],
        env=variables,
        capture_output=True,
        check=True,
    )
    assert result.stdout == b"trained\n" and result.stderr == b""

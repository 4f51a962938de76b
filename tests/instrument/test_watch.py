"""Recording from inside a script, with the real torch."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import duckdb
from tcrules.instrument import open_run


def run_script(place: Path, text: str) -> str:
    (place / "script.py").write_text(textwrap.dedent(text))
    result = subprocess.run(
        [sys.executable, "script.py"], cwd=place, capture_output=True, check=False, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_watch_records_seals_and_ends(tmp_path: Path):
    run_script(
        tmp_path,
        """
        import torch, tcrules
        from tcrules.instrument.session import current
        model = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with tcrules.watch(model, optimizer, run="a") as recording:
            assert recording.run.name == "a"
            with tcrules.watch(run="ignored"):
                tcrules.emit("mine", x=1)
            current().put("trainability")(current().names.param(model.weight), 0, 1, True)
        assert current() is None
        tcrules.emit("mine", x=2)
        try:
            with tcrules.watch(run="b"):
                tcrules.emit("mine", x=3)
                raise KeyError
        except KeyError:
            pass
        """,
    )
    first, second = open_run(tmp_path / "a"), open_run(tmp_path / "b")
    assert (first.manifest.status, second.manifest.status) == ("finished", "failed")
    assert not (tmp_path / "ignored").exists()
    with duckdb.connect() as connection:
        for folder, value in ((first, 1), (second, 3)):
            path = str(folder.facts / "mine.parquet")
            assert connection.execute("SELECT x FROM read_parquet(?)", [path]).fetchall() == [(value,)]
        path = str(first.facts / "trainability.parquet")
        found = connection.execute("SELECT DISTINCT param FROM read_parquet(?)", [path]).fetchall()
    assert ("weight",) in found


def test_loader_workers_have_their_role_and_rank(tmp_path: Path):
    run_script(
        tmp_path,
        """
        import torch, tcrules
        from pathlib import Path
        from tcrules.instrument.attach import launch
        class Data(torch.utils.data.Dataset):
            def __len__(self): return 4
            def __getitem__(self, i):
                tcrules.emit("mine", x=i)
                return torch.tensor(i)
        def main():
            for method in ("fork", "spawn"):
                list(torch.utils.data.DataLoader(Data(), num_workers=2, multiprocessing_context=method))
            tcrules.emit("mine", x=9)
        if __name__ == "__main__":
            import os, sys
            if "TCRULES_RUN" in os.environ:
                main()
            else:
                sys.exit(launch([sys.executable, "script.py"], Path("run")))
        """,
    )
    folder = open_run(tmp_path / "run")
    roles = sorted((process["role"], process["rank"]) for process in folder.manifest.processes)
    assert roles == [("trainer", 0), *[("worker", 0)] * 4], folder.notes
    assert all(process["ended"] for process in folder.manifest.processes)

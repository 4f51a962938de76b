"""Ways of training in several processes: what each rank records, and that recording changes none of them.

The programs train each way without and with recording, and fail where the two differ in one bit.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tcrules.instrument.attach import RUN_VARIABLE
from tcrules.instrument.probes.workers import WHY_SPAWNED

pytestmark = pytest.mark.slow

PROGRAMS = Path(__file__).with_name("programs")


def start(program: str, folder: Path, **variables: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(PROGRAMS / program), str(folder)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(*processes: subprocess.Popen[bytes]) -> None:
    texts = [process.communicate(timeout=120)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(texts)


def test_ranks_in_parallel(tmp_path: Path, read: Any):
    """Two ranks; all ways in one launch, as starting takes longest."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    finish(*(start("parallel.py", tmp_path, RANK=str(rank), **common) for rank in range(2)))
    check_data_parallel(read(tmp_path / "replicated"))
    check_fully_sharded(read(tmp_path / "sharded"))
    check_tensor_parallel(read(tmp_path / "split"))


def test_children_of_one_process(tmp_path: Path, read: Any):
    """Workers of loaders, and processes that train one model."""
    finish(start("workers.py", tmp_path))
    check_hogwild(read(tmp_path / "hogwild"))
    check_loader_workers(read(tmp_path / "forked"), 2)
    check_loader_workers(read(tmp_path / "spawned"), 1)


#: For each step, whether a column is equal on both ranks.
PAIRS = """
SELECT a.step, bool_and(a.{0} = b.{0}) FROM {1} a JOIN {1} b USING (step, param, {2})
WHERE a.rank < b.rank AND {3} GROUP BY ALL ORDER BY ALL
"""


def check_data_parallel(facts: Any) -> None:
    assert facts.gaps() == []
    assert facts.sql("SELECT rank, list(step ORDER BY call) FROM forward GROUP BY rank ORDER BY rank") == [
        (rank, [0, 0, 1, 1, 2, 2]) for rank in range(2)
    ]
    assert set(facts("forward", "module")) == {"DistributedDataParallel#0"}
    assert facts.sql("SELECT count(*) FROM replicated") == [(2 * 9,)]
    # a window of two: the first backward is not synchronised, the second adds, and what the step uses is equal
    window = facts.sql(
        "SELECT list(onto ORDER BY call) FROM accumulate WHERE param = '0.weight' GROUP BY rank, step"
    )
    assert window == [(["none", "nonzero"],)] * 6
    reduced = facts.sql(
        "SELECT rank, list(reduced ORDER BY call) FROM gradient_point WHERE param = '0.weight' AND step < 3 "
        "AND point = 'backward' GROUP BY rank ORDER BY rank"
    )
    assert reduced == [(rank, ["local", "reduced"] * 3) for rank in range(2)]
    equal = [(step, True) for step in range(3)]
    assert facts.sql(PAIRS.format("data", "gradient", "optimizer", "true")) == equal
    assert facts.sql(PAIRS.format("after", "update", "optimizer", "true")) == equal
    assert facts.sql("SELECT rank, op, reduction, size FROM collective ORDER BY rank") == [
        (rank, "all_reduce", "sum", 2) for rank in range(2)
    ]


def check_fully_sharded(facts: Any) -> None:
    assert facts.gaps() == []
    # the class goes by the user's name for it
    assert facts.sql("SELECT DISTINCT module, class FROM forward") == [("Sequential", "Sequential")]
    assert facts.sql("SELECT count(*) FROM module WHERE class = 'Block'") == [(4,)]
    shards = facts.sql(
        "SELECT DISTINCT s.layout, s.mesh, s.held * 2 = p.size "
        "FROM sharded s JOIN parameter p USING (rank, param)"
    )
    assert shards == [("Shard(0)", "2", True)]
    # the optimizer owns what replaced the parameters, and nothing else is known
    members = facts.sql("SELECT param FROM member ORDER BY ALL")
    assert members == facts.sql("SELECT param FROM parameter ORDER BY ALL") and len(members) == 2 * 12
    assert facts("replicated") == facts("wrapper") == []
    assert set(facts("gradient", "class")) == {"nonzero"}
    assert facts.sql("SELECT count(*) FROM update WHERE before = after") == [(0,)]
    assert len(facts("update", "param")) == 2 * 3 * 12
    assert facts.sql(PAIRS.format("after", "update", "optimizer", "param LIKE '%weight'")) == [
        (step, False) for step in range(3)
    ]
    assert set(facts("clip", "optimizer", "kind", "params")) == {("AdamW#0", "norm", 12)}


def check_tensor_parallel(facts: Any) -> None:
    assert facts.gaps() == []
    assert sorted(set(facts("sharded", "param", "layout", "mesh", "held"))) == [
        ("block.down.weight", "tp:Shard(1)", "2", 16),
        ("block.up.bias", "tp:Shard(0)", "2", 4),
        ("block.up.weight", "tp:Shard(0)", "2", 16),
    ]
    split = "SELECT DISTINCT param FROM parameter WHERE split ORDER BY param"
    assert facts.sql(split) == [("block.down.weight",), ("block.up.bias",), ("block.up.weight",)]
    whole = facts.sql("SELECT DISTINCT name FROM replicated WHERE \"by\" = 'tensor_parallel' ORDER BY name")
    assert whole == [("block.down.bias",), ("head.bias",), ("head.weight",)]
    equal = "param IN (SELECT name FROM replicated)"
    assert facts.sql(PAIRS.format("after", "update", "optimizer", equal)) == [
        (step, True) for step in range(3)
    ]
    assert facts.sql("SELECT count(*) FROM update WHERE before <> after") == [(2 * 3 * 6,)]


def check_hogwild(facts: Any) -> None:
    """Values that another process wrote into shared memory are seen."""
    assert facts.gaps() == []
    assert facts.sql("SELECT count(*) FROM process") == [(3,)]
    assert facts.sql(
        "SELECT rank, list(nth ORDER BY nth) FROM optimizer_step GROUP BY rank ORDER BY rank"
    ) == [
        (1, [0, 1, 2]),
        (2, [0, 1, 2]),
    ]
    chain = facts.sql("SELECT before, after FROM update WHERE param = '0.weight' ORDER BY nth, rank")
    assert all(later[0] == earlier[1] for earlier, later in itertools.pairwise(chain))


def check_loader_workers(facts: Any, count: int) -> None:
    batches = [(epoch, index, index % count, 2) for epoch in range(2) for index in range(4)]
    assert facts("batch", "epoch", "index", "worker", "size") == batches
    assert facts("forward", "loader", "step") == [("DataLoader#0", step) for step in range(8)]
    assert facts("update", "nth", where="param = 'weight'") == list(range(8))
    rng = facts("worker_rng", "epoch", "worker", "source", "used")
    if count == 2:
        assert facts.gaps() == []
        sources = ("numpy", "python", "torch")
        assert sorted(rng) == [(e, w, source, True) for e in range(2) for w in range(2) for source in sources]
    else:
        assert rng == []
        assert facts.gaps("relation") == ["worker_rng"]


def test_children_that_watch_cannot_record_are_a_gap(record: Any, monkeypatch: pytest.MonkeyPatch):
    """Hogwild by spawn: the parent says that it has processes of which nothing is known."""
    monkeypatch.delenv(RUN_VARIABLE, raising=False)

    def train(method: str) -> None:
        child = multiprocessing.get_context(method).Process(target=abs, args=(-1,))
        child.start()
        child.join()

    facts = record(lambda: train("spawn"), gaps=True)
    assert facts.gaps("relation", "why") == [("process", WHY_SPAWNED)]
    assert record(lambda: train("fork")).gaps() == []
    monkeypatch.setenv(RUN_VARIABLE, "elsewhere")  # then the child finds its way by itself
    assert record(lambda: train("spawn")).gaps() == []

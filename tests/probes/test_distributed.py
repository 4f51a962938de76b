"""Two processes under torchrun."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tcrules.instrument.attach import launch
from tcrules.instrument.runs import open_run
from tcrules.instrument.schema import SPARSE

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
inner = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
model = DistributedDataParallel(inner, broadcast_buffers=sys.argv[1] == "broadcast")
optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.Adam, lr=0.1)
torch.manual_seed(rank)
for step in range(3):
    optimizer.zero_grad()
    if step == 2:
        with model.no_sync():
            model(torch.randn(8, 4)).sum().backward()
    (inner if step == 2 else model)(torch.randn(8, 4)).sum().backward()
    optimizer.step()
value = torch.ones(2) * rank
dist.all_reduce(value)
dist.all_reduce(value, group=dist.new_group([0, 1]))
mean = torch.full((3,), 2.0 * rank)
work = dist.all_reduce(mean, op=dist.ReduceOp.MAX, async_op=True)
forgotten = dist.all_reduce(torch.ones(1), async_op=True)
work.wait()
parts = [torch.empty(2) for _ in range(2)]
dist.all_gather(tensor_list=parts, tensor=torch.ones(2) * rank)
dist.broadcast(value, src=1)
dist.reduce(value, 0)
dist.barrier()
dist.destroy_process_group()
"""


@pytest.fixture(scope="module", params=["broadcast", "apart"])
def query(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("ddp")
    (folder / "train.py").write_text(SCRIPT)
    torchrun = shutil.which("torchrun", path=str(Path(sys.executable).parent))
    assert torchrun is not None
    command = [torchrun, "--standalone", "--nproc_per_node=2", str(folder / "train.py"), request.param]
    assert launch(command, folder / "run") == 0
    connection = duckdb.connect()
    for name, path in open_run(folder / "run").relations().items():
        connection.execute(f"""CREATE VIEW "{name}" AS SELECT * FROM read_parquet('{path}')""")
    return request.param, lambda text: connection.execute(text).fetchall()


def test_processes_and_gaps(query: Any):
    _, sql = query
    assert sql("SELECT rank, role, world_size, distributed FROM process ORDER BY rank") == [
        (0, "trainer", 2, True),
        (1, "trainer", 2, True),
    ]
    assert sql(f"SELECT relation, why FROM instrument_gap WHERE why <> '{SPARSE}'") == []


def test_the_wrapper_and_what_it_replicates(query: Any):
    kind, sql = query
    assert sql('SELECT DISTINCT wrapper, "inner", kind, broadcast_buffers FROM wrapper') == [
        ("DistributedDataParallel#0", "Sequential", "DistributedDataParallel", kind == "broadcast")
    ]
    assert sql("SELECT count(DISTINCT name) FROM replicated WHERE \"by\" = 'ddp'") == [(9,)]
    assert sql("SELECT DISTINCT step, module FROM forward ORDER BY step, module") == [
        (0, "DistributedDataParallel#0"),
        (1, "DistributedDataParallel#0"),
        (2, "DistributedDataParallel#0"),
        (2, "Sequential"),
    ]


PAIRS = """
SELECT a.step, bool_and(a.{0} = b.{0}) FROM {1} a JOIN {1} b USING (step, {2}) WHERE a.rank < b.rank
GROUP BY ALL ORDER BY ALL
"""


def test_what_is_equal_on_both_ranks(query: Any):
    kind, sql = query
    # the last forward went past the wrapper
    assert sql(PAIRS.format("data", "gradient", "param")) == [(0, True), (1, True), (2, False)]
    assert sql(PAIRS.format("data", "param_state", "param")) == [(0, True), (1, True), (2, True)]
    equal = kind == "broadcast"
    assert sql(PAIRS.format("before", "buffer_state", "buffer"))[:2] == [(0, True), (1, equal)]


def test_local_and_reduced_gradients(query: Any):
    _, sql = query
    found = sql(
        "SELECT rank, step, reduced, count(DISTINCT call) FROM gradient_point GROUP BY ALL ORDER BY ALL"
    )
    expected = [(0, "reduced", 1), (1, "reduced", 1), (2, "local", 2)]
    assert found == [(rank, *row) for rank in range(2) for row in expected]
    equal = sql(
        "SELECT a.reduced, bool_and(a.data = b.data) FROM gradient_point a JOIN gradient_point b "
        "USING (step, reduced, param) WHERE a.rank < b.rank AND param = '2.weight' GROUP BY ALL ORDER BY ALL"
    )
    assert equal == [("local", False), ("reduced", True)]


def test_the_state_of_each_parameter_is_on_one_rank(query: Any):
    _, sql = query
    found = sql(
        "SELECT step, param, count(*), max(counter), min(abs(data)) > 0 FROM optimizer_slot GROUP BY ALL"
    )
    assert len(found) == 18 and all(row[2:] == (1, row[0] + 1, True) for row in found)


def test_a_sharded_optimizer_steps_once(query: Any):
    _, sql = query
    assert sql("SELECT DISTINCT optimizer, class FROM optimizer") == [
        ("ZeroRedundancyOptimizer#0", "ZeroRedundancyOptimizer")
    ]
    assert sql("SELECT rank, list(nth ORDER BY nth) FROM optimizer_step GROUP BY rank ORDER BY rank") == [
        (0, [0, 1, 2]),
        (1, [0, 1, 2]),
    ]
    assert sql("SELECT list(DISTINCT counter ORDER BY counter) FROM optimizer_state") == [([1, 2, 3],)]
    # every rank holds the state of its shard; all parameters arrive changed
    assert sql("SELECT DISTINCT sum(filled) FROM optimizer_state GROUP BY step") == [(6,)]
    assert sql("SELECT count(*) FROM update WHERE before = after AND param LIKE '%weight'") == [(0,)]


def test_collectives(query: Any):
    _, sql = query
    found = sql(
        "SELECT rank, \"group\" = 'default', op, dtype, shape, reduction, size, async, peer FROM collective "
        'WHERE "at" > (SELECT max(o.end) FROM optimizer_step o WHERE o.rank = collective.rank) ORDER BY rank, "at"'
    )
    expected = [
        (True, "all_reduce", "float32", "2", "sum", 2, False, -1),
        (False, "all_reduce", "float32", "2", "sum", 2, False, -1),
        (True, "all_reduce", "float32", "3", "max", 2, True, -1),
        (True, "all_reduce", "float32", "1", "sum", 2, True, -1),
        (True, "all_gather", "float32", "2", "", 2, False, -1),
        (True, "broadcast", "float32", "2", "", 2, False, 1),
        (True, "reduce", "float32", "2", "sum", 2, False, 0),
        (True, "barrier", "", "", "", 2, False, -1),
    ]
    assert found == [(rank, *row) for rank in range(2) for row in expected]
    assert sql(
        'SELECT count(*) FROM (SELECT "group", nth FROM collective GROUP BY ALL HAVING count(*) <> 2)'
    ) == [(0,)]


def test_what_collectives_get_and_return(query: Any):
    _, sql = query
    found = sql(
        "SELECT rank, c.op, role, round(norm ** 2) FROM collective_data d JOIN collective c USING (rank, call) "
        'WHERE c."at" > (SELECT max(o.end) FROM optimizer_step o WHERE o.rank = c.rank) '
        'ORDER BY rank, d."at", role'
    )
    expected = [
        *[("all_reduce", "argument", lambda rank: 2 * rank), ("all_reduce", "result", lambda _: 2)],
        *[("all_reduce", "argument", lambda _: 2), ("all_reduce", "result", lambda _: 8)],
        ("all_reduce", "argument", lambda rank: 12 * rank),
        ("all_reduce", "argument", lambda _: 1),  # nobody waits for it: no result
        ("all_reduce", "result", lambda _: 12),
        *[("all_gather", "argument", lambda rank: 2 * rank), ("all_gather", "result", lambda _: 2)],
        *[("broadcast", "argument", lambda _: 8), ("broadcast", "result", lambda _: 8)],
        ("reduce", "argument", lambda _: 8),
    ]
    first = [(0, op, role, norm(0)) for op, role, norm in expected]
    # the result of a reduction is that of its destination
    assert found == [*first, (0, "reduce", "result", 32), *[(1, o, r, n(1)) for o, r, n in expected]]
    assert sql(
        "SELECT count(*) FROM (SELECT \"group\", nth FROM collective_data WHERE role = 'result' AND op <> 'reduce' "
        "GROUP BY ALL HAVING count(DISTINCT data) <> 1)"
    ) == [(0,)]

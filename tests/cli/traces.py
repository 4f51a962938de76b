"""Traces as TrainCheck 0.2.0 writes them: the same fields in the same order, a small training loop."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NET, ADAM, NONE = "__main__.Net", "torch.optim.adamw.AdamW", {"NoneType": None}
STEP, ZERO = "torch.optim.adam.Adam.step", "torch.optim.optimizer.Optimizer.zero_grad"
BACKWARD, LINEAR = "torch._tensor.Tensor.backward", "torch.nn.modules.linear.Linear.forward"


def tensor(*shape: int, grad: bool = False) -> dict[str, Any]:
    """A tensor as an argument."""
    about = {"_TRAINCHECK_data_ID": 140, "dtype": "torch.float32", "grad": None, "is_cpu": True, "is_cuda": False,
             "is_leaf": not grad, "ndim": len(shape), "requires_grad": grad, "shape": list(shape)}  # fmt: skip
    return {"torch.FloatTensor": about}


@dataclass
class Trace:
    """Lines of the calls of one thread, and of states of variables."""

    pid: int = 100
    thread: int = 7
    now: int = 1_000_000
    meta: dict[str, Any] = field(default_factory=lambda: {"step": 0, "stage": "init"})
    lines: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    made: int = 0

    def begin(self, function: str, this: str = "", *args: Any, **more: Any) -> str:
        self.made += 1
        key = f"{self.pid}abc_{self.made}"
        given = [{this: more.pop("attributes", {})}, *args] if this else list(args)
        self._line(
            key, "function_call (pre)", function, this,
            args={str(place): value for place, value in enumerate(given)}, kwargs=more.pop("kwargs", {}), **more,
        )  # fmt: skip
        return key

    def end(self, key: str, function: str, this: str = "", result: Any = None, **more: Any) -> None:
        if "exception" in more:
            self._line(
                key, "function_call (post) (exception)", function, this, exception_msg="s3cret", **more
            )
        else:
            self._line(key, "function_call (post)", function, this, return_values=result or NONE, **more)

    def call(self, function: str, this: str = "", *args: Any, result: Any = None, **more: Any) -> None:
        self.end(self.begin(function, this, *args, **more), function, this, result)

    def state(self, name: str, data: Any, grad: Any = None, mode: str = "update", **attributes: Any) -> None:
        self.now += 10
        about = {"_TRAINCHECK_data_ID": 1, "data": data, "dtype": "torch.float32", "grad": grad,
                 "requires_grad": True, "shape": [2, 2], **attributes}  # fmt: skip
        record = {"var_name": name, "var_type": "torch.nn.Parameter", "mode": mode, "dump_loc": "initing",
                  "process_id": self.pid, "thread_id": self.thread, "time": self.now, "meta_vars": self.meta,
                  "attributes": about, "type": "state_change"}  # fmt: skip
        self.states.append(json.dumps(record))

    def step(self, number: int, *, adam: str = ADAM) -> None:
        """An iteration: clear, forward, backward, step."""
        self.meta = {"step": number, "stage": "training"}
        self.call(ZERO, adam)
        self.call(LINEAR, "torch.nn.modules.linear.Linear", tensor(8, 4), result=tensor(8, 2, grad=True))
        self.call(BACKWARD, "torch.FloatTensor", attributes=tensor(grad=True)["torch.FloatTensor"])
        self.state("model.fc.weight", 5 * number, grad=number)
        key = self.begin(STEP, adam)
        self.call("torch.optim.adam.Adam._init_group", adam, {"list": [1]}, result={"bool": False})
        self.end(key, STEP, adam)

    def write(self, folder: Path) -> Path:
        """Write the files of this thread."""
        folder.mkdir(exist_ok=True)
        with (folder / f"trace_API_{self.pid}_{self.thread}.log").open("a") as file:
            file.writelines(f"{line}\n" for line in self.lines)
        with (folder / "proxy_log.json").open("a") as file:
            file.writelines(f"{line}\n" for line in self.states)
        return folder

    def _line(self, key: str, kind: str, function: str, this: str, **more: Any) -> None:
        self.now += 10
        identity = sum(map(ord, this))  # one object of each class
        record = {"func_call_id": key, "thread_id": self.thread, "process_id": self.pid, "meta_vars": self.meta,
                  "type": kind, "function": function, "is_bound_method": bool(this),
                  "obj_id": identity or None, **more, "time": self.now}  # fmt: skip
        self.lines.append(json.dumps(record))


def training(steps: int = 4, **about: Any) -> Trace:
    """A healthy run."""
    trace = Trace(**about)
    trace.call("torch.random.manual_seed", "", {"int": 3}, result={"torch._C.Generator": {}})
    trace.call(
        f"{ADAM}.__init__",
        ADAM,
        {"generator": {}},
        kwargs={"lr": {"float": 0.01}, "token": {"str": "s3cret"}},
    )
    for number in range(1, steps + 1):
        trace.step(number)
    return trace

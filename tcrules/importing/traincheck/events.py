"""Calls that have a relation of their own: optimizer steps, clearing of gradients, seeds, ranks.

Only what a trace tells in full becomes a fact: a loss is not in it, so a backward pass is a call and nothing more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcrules.importing.traincheck import functions
from tcrules.importing.traincheck.values import typed

if TYPE_CHECKING:
    from tcrules.importing.traincheck.calls import Call
    from tcrules.importing.traincheck.process import Process

#: What the trace may hold in full, and names of functions that make it so.
COVERED = {
    "optimizer": ("torch.optim.Optimizer.step",),
    "optimizer_step": ("torch.optim.Optimizer.step",),
    "scaler_step": ("torch.amp.GradScaler.step",),
    "zero_grad": ("torch.optim.Optimizer.zero_grad", "torch.nn.Module.zero_grad"),
}
NO_ARGUMENTS = "arguments of {} were not traced"
STEPPED, BACKWARD = "optimizer stepped", "backward"
_MISSING = object()


def begin(process: Process, call: Call, record: dict[str, Any]) -> None:
    """A call begins: what its arguments tell is kept for its end."""
    clock = process.clock
    if call.api == functions.STEP:
        call.known["closure"] = _argument(record, 1, "closure")
        if clock is not None:
            clock.before_optimizer(call.object)
    elif call.api in (functions.ZERO, functions.MODULE_ZERO):
        call.known["set_to_none"] = _argument(record, 1, "set_to_none", True)
        if clock is not None:
            clock.before_clear()
    elif call.api == functions.SCALER_STEP:
        call.known["optimizer"] = _argument(record, 1, "optimizer", kind=True)
    elif call.api in functions.SEEDS:
        call.known["seed"] = _argument(record, 0, "seed")
    elif call.api in (functions.RANK, functions.WORLD):
        call.known["group"] = _argument(record, 0, "group")


def end(process: Process, call: Call, at: int, record: dict[str, Any] | None) -> None:
    """A call has ended; `record` is None where the line of its end is lost."""
    clock = process.clock
    process.seen.add(call.api)
    if call.api == functions.STEP:
        _optimizer_step(process, call, at)
    elif call.api in (functions.ZERO, functions.MODULE_ZERO):
        _zero_grad(process, call)
    elif call.api == functions.SCALER_STEP:
        _scaler_step(process, call, at)
    elif call.api == functions.BACKWARD and clock is not None:
        clock.backward_done()
    elif call.api in functions.SEEDS and isinstance(call.known.get("seed"), int):
        seed = (call.known["seed"] + (1 << 63)) % (1 << 64) - (1 << 63)
        process.write("seed", process.ordinal, call.call, call.api, seed, call.step, call.begin)
    elif call.api in (functions.RANK, functions.WORLD) and record is not None:
        _rank(process, call, record)


def pass_on(call: Call, parent: Call | None) -> None:
    """Tell the enclosing call what happened."""
    if parent is not None:
        parent.inner |= call.inner
        if call.api == functions.STEP:
            parent.inner.add(STEPPED)
        elif call.api == functions.BACKWARD:
            parent.inner.add(BACKWARD)


def _optimizer_step(process: Process, call: Call, at: int) -> None:
    if process.clock is not None:
        process.clock.optimizer_stepped(call.object)
    span = process.spans.get(call.step)
    if span is not None:
        span.stepped = True
    if not call.object:
        process.unsure["optimizer_step"] = "which optimizer steps was not traced"
        return
    _note_optimizer(process, call)
    closure = call.known.get("closure", _MISSING)
    if closure is _MISSING and BACKWARD not in call.inner:
        process.unsure["optimizer_step"] = NO_ARGUMENTS.format("Optimizer.step")
        return
    _write_step(
        process,
        call,
        call.object,
        at,
        skipped=False,
        closure=closure not in (None, _MISSING) or BACKWARD in call.inner,
    )


def _scaler_step(process: Process, call: Call, at: int) -> None:
    """A scaler's step without a step of the optimizer inside: the gradients had overflowed."""
    skipped = STEPPED not in call.inner
    kind = call.known.get("optimizer", _MISSING)
    named = [name for name, known in process.optimizers.items() if known == kind]
    if len(named) != 1 or functions.STEP not in process.seen or not call.object:
        for relation in ("scaler_step", "optimizer_step") if skipped else ("scaler_step",):
            process.gap(relation, call.step, "which optimizer a scaler steps is not in the trace")
        return
    process.write(
        "scaler_step", process.ordinal, call.call, call.object, named[0], call.step, call.begin, skipped
    )
    if skipped:
        span = process.spans.get(call.step)
        if span is not None:
            span.stepped = True
        _write_step(process, call, named[0], at, skipped=True, closure=False)


def _write_step(
    process: Process, call: Call, optimizer: str, at: int, *, skipped: bool, closure: bool
) -> None:
    nth = process.steps_taken[optimizer]
    process.steps_taken[optimizer] += 1
    process.write(
        "optimizer_step",
        process.ordinal,
        call.call,
        optimizer,
        nth,
        call.step,
        call.begin,
        at,
        skipped,
        closure,
    )


def _note_optimizer(process: Process, call: Call) -> None:
    if call.object not in process.optimizers:
        process.optimizers[call.object] = call.known.get("class", "")
        short = call.object.partition("#")[0]
        made = process.born.get(call.object, call.begin)
        process.write("optimizer", process.ordinal, call.object, short, made)


def _zero_grad(process: Process, call: Call) -> None:
    to_none = call.known.get("set_to_none", _MISSING)
    if to_none is _MISSING or not call.object:
        process.unsure["zero_grad"] = NO_ARGUMENTS.format("zero_grad")
        return
    process.write("zero_grad", process.ordinal, call.call, call.object, call.step, call.begin, bool(to_none))


def _rank(process: Process, call: Call, record: dict[str, Any]) -> None:
    if call.known.get("group", _MISSING) is not None:
        return  # of another group than the default one, or unknown
    value = typed(record.get("return_values"))[1]
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        if call.api == functions.RANK:
            process.rank = value
        else:
            process.world = value


def _argument(
    record: dict[str, Any], position: int, name: str, default: Any = None, *, kind: bool = False
) -> Any:
    """An argument of a call (or its class, with `kind`), its default, or `_MISSING` where arguments were not traced."""
    args, kwargs = record.get("args"), record.get("kwargs")
    if not isinstance(args, dict) or not isinstance(kwargs, dict):
        return _MISSING
    given = args.get(str(position), kwargs.get(name))
    if given is None:
        return default
    found, content = typed(given)
    return found if kind else content

"""Forward passes: the outermost call of a model, the calls of its layers, and what happened around them."""

from __future__ import annotations

import functools
from itertools import count
from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.fingerprint import combine
from tcrules.instrument.names import class_name
from tcrules.instrument.probes import transforms
from tcrules.instrument.probes.compiling import opaque
from tcrules.instrument.probes.context import autocast_dtype, context, dtype_name, in_backward, records_grad
from tcrules.instrument.probes.models import PARALLEL, is_model, unwrap
from tcrules.instrument.probes.patching import is_traced, uncompiled
from tcrules.instrument.probes.values import is_real, sample_print, tensors_in
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tcrules.instrument.probes.data import Batches
    from tcrules.instrument.probes.dropout import Dropout
    from tcrules.instrument.probes.generators import Generators
    from tcrules.instrument.probes.graphs import Graphs
    from tcrules.instrument.probes.models import Model
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.probes.states import States
    from tcrules.instrument.probes.structure import Structure
    from tcrules.instrument.probes.ties import Ties
    from tcrules.instrument.session import Frame

RELATIONS = ("forward", "forward_argument", "module_call", "layer_gradient")
API = "torch.nn.Module.forward"
#: What is looked at now and then, and in the first forward of each kind.
LAYERS = ("module_call", "layer_gradient", "dropout_call", "attention_call", "batch_use")
#: Calls of one layer that are recorded per forward (cells of recurrent networks).
MAX_CALLS = 4
#: Arguments of a forward that are told one by one.
MAX_ARGUMENTS = 16
WHY_ARGUMENTS = f"more than {MAX_ARGUMENTS} arguments of a forward"
WHY_AGAIN = f"more than {MAX_CALLS} calls of a layer in one forward"


class Run:
    """An outermost forward that is running."""

    __slots__ = (
        "autocast",
        "buffers",
        "frame",
        "grad",
        "input",
        "loader",
        "model",
        "name",
        "record",
        "rng",
        "sampled",
        "training",
    )

    def __init__(self, frame: Frame, name: str, model: nn.Module, record: Model, training: bool) -> None:
        self.frame = frame
        self.name = name
        self.model = model
        self.record = record
        self.training = training
        self.grad = records_grad()
        self.autocast = autocast_dtype(dtype_name)
        self.loader = ""
        #: Its fingerprint, or the answers that make it.
        self.input: Any = 0
        self.sampled = False
        self.rng: list[tuple[str, int]] = []
        self.buffers: list[tuple[Any, str, str, Any]] = []


class Forward:
    """Patches `Module.__call__`; other probes of forward facts are called from here."""

    def __init__(
        self,
        shared: Shared,
        structure: Structure,
        ties: Ties,
        states: States,
        generators: Generators,
        batches: Batches,
        dropout: Dropout | None,
        graphs: Graphs | None,
    ) -> None:
        self.shared = shared
        self.session, self.clock = shared.session, shared.clock
        self.structure, self.ties = structure, ties
        self.states, self.generators, self.batches = states, generators, batches
        self.dropout, self.graphs = dropout, graphs
        self._layers = shared.session.needs.any(LAYERS)
        self._put, self._put_layer = shared.session.put("forward"), shared.session.put("module_call")
        self._put_argument = shared.session.put("forward_argument")
        self._put_gradient = shared.session.put("layer_gradient")

    # ------------------------------------------------------------------ outermost calls
    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Run | None:
        """Begin an outermost forward; None if the call is none (loss functions, recomputation in a backward)."""
        model = unwrap(module)
        if isinstance(model, torch.jit.ScriptModule):
            opaque(self.shared, inside=False)
            return None
        if in_backward() or (self.shared.book.models.get(model) is None and not is_model(model)):
            return None
        if "_former_parameters" in model.__dict__ or torch.compiler.is_compiling():
            return None  # a replica of DataParallel lives for one forward
        if _is_unreal(args) or _is_unreal(kwargs.values()):
            return None  # shapes are being worked out, nothing is computed
        if transforms.in_transform():
            transforms.tell(self.shared, model)
            return None
        if records_grad():
            self.clock.before_forward()
            if not self.shared.governor.open and module.training:
                return None  # a step began that is left out
        record = self.structure.model(model)
        wrapped = type(module).__name__ in PARALLEL
        name = self.shared.names.wrapper(module) if wrapped else record.name
        frame = self.session.enter(API, name)
        run = Run(frame, name, model, record, module.training)
        context.root, context.forward, context.run = module, frame.call, run
        self._prepare(run)
        self._describe_input(run, args, kwargs)
        if wrapped:
            context.inner = model  # its buffers are read when the wrapper has broadcast them
        if self.shared.governor.open:
            if not wrapped:
                self.shared.safely("states", self.states.before, run)
            self.shared.safely("rng", self.generators.before, run)
        return run

    def wakes(self, module: nn.Module) -> bool:
        """Whether an outermost call is recorded in a step that is left out, or begins one that is not."""
        governor, grad = self.shared.governor, torch.is_grad_enabled()
        if grad and self.clock.between and not in_backward():
            model = unwrap(module)
            known = self.shared.book.models.get(model) is not None or is_model(model)
            if known and not self.clock.clears_later():
                self.clock.before_forward()
        return governor.open or (
            (not grad or not module.training) and is_model(module) and governor.evaluates()
        )

    def _prepare(self, run: Run) -> None:
        record, step = run.record, self.clock.step
        self.structure.trainability(record)
        if run.grad and record.step != step:
            if self.structure.replaced(record):
                self.structure.refresh(run.model, record)
            record.step, record.trains = step, True
            for probe, callback in self.shared.step_begins:
                self.shared.safely(probe, callback)
            self.shared.safely("ties", self.ties.look, run.model, record, run.frame.call)
            self.shared.safely("states", self.states.params, record)
        if run.grad:
            self.shared.book.trained_here(record)
            self._synced(run)
        kind = (run.training, run.grad, run.autocast)
        run.sampled = kind not in record.kinds or self.shared.governor.looks(step, *LAYERS)
        context.sampled = run.sampled and self._layers
        record.kinds.add(kind)
        if context.sampled:
            context.layers = dict(record.layers)
            context.calls = {}
            context.modules.append(run.model)

    def _synced(self, run: Run) -> None:
        """Note whether the backward of this forward averages gradients over the ranks."""
        record, wrapper = run.record, self.shared.book.wrapper(run.model)
        if wrapper is None or type(wrapper).__name__ != "DistributedDataParallel":
            return
        synced = context.root is wrapper and bool(getattr(wrapper, "require_backward_grad_sync", True))
        if synced is not record.synced:
            record.synced = synced
            for param in record.params:
                param.synced = synced

    def _describe_input(self, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        prints: list[Any] = []
        late = self.shared.late
        ask = None if late is None else late.ask()
        arguments = []
        for name, value in (*zip(map(str, count()), args, strict=False), *kwargs.items()):
            first = len(prints)
            for tensor in tensors_in(value, 1):
                loader, data = self.batches.of(tensor)
                if run.sampled:
                    self.batches.used(run.frame.call, "input", tensor, run.frame.step, run.frame.begin)
                run.loader = run.loader or loader
                if data is None:
                    data = sample_print(tensor) if ask is None else ask.sample(tensor)
                prints.append(data)
            arguments.append((name, "none" if value is None else "other", prints[first:]))
        run.loader = run.loader or self.batches.active()
        run.input = prints if ask is not None else self._joined(prints, "forward", run.frame.step)
        if len(arguments) > MAX_ARGUMENTS:
            self.session.gap("forward_argument", WHY_ARGUMENTS, first_step=run.frame.step)
        about = run.frame.call, run.name, run.frame.step, run.frame.begin
        rows = [(*about, name, kind) for name, kind, _ in arguments[:MAX_ARGUMENTS]]
        found = [data for *_, data in arguments[:MAX_ARGUMENTS]]
        if ask is None:
            self._write_arguments(rows, found)
        else:
            ask.then("forward", self._write_arguments, rows, found)

    def _write_arguments(self, rows: list[tuple[Any, ...]], found: list[list[int | None]]) -> None:
        for (*about, kind), prints in zip(rows, found, strict=True):
            data = self._joined(prints, "forward_argument", about[2])
            self._put_argument(*about, "tensor" if prints else kind, data)

    def _joined(self, prints: list[int | None], relation: str, step: int) -> int:
        """Return the fingerprint of several tensors; what cannot be read is a gap of the relation."""
        found = [data for data in prints if data is not None]
        if len(found) < len(prints):
            self.shared.unread(relation, step)
        return found[0] if len(found) == 1 else combine(found) if found else 0

    def leave(self, run: Run, result: Any, raised: bool) -> None:
        """End an outermost forward."""
        record, frame = run.record, run.frame
        if not raised:
            if self.graphs is not None:
                self.shared.safely("graphs", self.graphs.returned, run, result)
            self.shared.safely("rng", self.generators.after, run)
            self.shared.safely("states", self.states.after, run)
        live = [module for reference in record.switches if (module := reference()) is not None]
        on = sum(module.training for module in live)
        end = self.session.leave(frame, raised)
        about = (
            *(frame.call, run.name, class_name(context.root), frame.step, frame.begin, end, run.training),
            *(run.grad, run.autocast, on, len(live) - on, record.frozen, run.loader),
        )
        if self.shared.late is None:
            self._put(*about, run.input)
        else:
            self.shared.late.after("forward", self._write, about, run.input)

    def _write(self, about: tuple[Any, ...], prints: list[int | None]) -> None:
        self._put(*about, self._joined(prints, "forward", about[3]))

    # ------------------------------------------------------------------ layers
    def layer(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Record the call of a leaf layer."""
        if self.dropout is not None:
            self.shared.safely("dropout", self.dropout.recurrent, module)
        name, kind = context.layers[id(module)]
        calls = context.calls
        calls[name] = calls.get(name, 0) + 1
        if calls[name] > MAX_CALLS:
            del context.layers[id(module)]
            self.session.gap("module_call", WHY_AGAIN)
            self.session.gap("layer_gradient", WHY_AGAIN)
            return
        first = next(tensors_in((args, kwargs)), None)
        returned = next(tensors_in(result), None)
        about = context.forward, name
        step, at, grad = self.clock.step, self.shared.tick(), records_grad()
        self._put_layer(
            *(*about, kind, step, at, module.training, grad, autocast_dtype(dtype_name)),
            *(_dtype(first), _dtype(weight_of(module)), _dtype(returned)),
        )
        if torch.is_grad_enabled():
            self._put_gradient(*about, step, at, _requires_grad((args, kwargs)), _requires_grad(result))


def weight_of(module: nn.Module) -> torch.Tensor | None:
    """Return the weight of a layer.

    Not by attribute: under a parametrization reading `weight` computes it, and spectral norm then moves its buffers.
    """
    weight = module._parameters.get("weight")
    if weight is None:
        weight = module.__dict__.get("weight")
    if isinstance(weight, torch.Tensor):
        return weight
    return next((p for p in module._parameters.values() if p is not None and p.is_floating_point()), None)


def _is_unreal(values: Iterable[Any]) -> bool:
    return any(isinstance(value, torch.Tensor) and not is_real(value) for value in values)


def _requires_grad(value: Any) -> bool:
    return any(tensor.requires_grad for tensor in tensors_in(value))


def _dtype(tensor: torch.Tensor | None) -> str:
    return "" if tensor is None else dtype_name[tensor.dtype]


def install(shared: Shared, forward: Forward) -> None:
    """Patch `Module.__call__`, which alone sees nested calls, exceptions and the state at the moment of the call."""
    guard = shared.guard("forward")
    original: Callable[..., Any] = nn.Module.__call__
    nested = _nested(shared, forward, original)
    enter, leave, wakes = guard(forward.enter), guard(forward.leave), guard(forward.wakes)
    clock, governor, grad_enabled = shared.clock, shared.governor, torch.is_grad_enabled

    @uncompiled
    def reset() -> None:
        if context.run is not None:  # still open where the probe failed on the way
            shared.session.abandon(context.run.frame)
        _reset()

    @functools.wraps(original)
    def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if is_traced():
            return original(self, *args, **kwargs)
        if context.root is not None:
            if context.sampled or context.inner is self:
                return nested(self, args, kwargs)
            return original(self, *args, **kwargs)
        # Most calls in a step that is left out need not ask.
        if not governor.open and not (
            (clock.between or not self.training or not grad_enabled()) and wakes(self)
        ):
            context.root = self
            try:
                return original(self, *args, **kwargs)
            finally:
                context.root = None
        run = enter(self, args, kwargs)
        if run is None:
            reset()  # a probe may have failed half-way
            return original(self, *args, **kwargs)
        result, raised = None, True
        try:
            result = original(self, *args, **kwargs)
            raised = False
            return result
        finally:
            leave(run, result, raised)
            reset()

    shared.patches.replace(nn.Module, "__call__", uncompiled(call))


@uncompiled
def _reset() -> None:
    context.root, context.forward, context.inner, context.sampled, context.run = None, 0, None, False, None
    context.modules.clear()


def _nested(shared: Shared, forward: Forward, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs for modules inside of a sampled forward."""
    layer = shared.guard("module_call", "module_call")(forward.layer)
    entered = shared.guard("states")(forward.states.inner)

    @uncompiled
    def nested(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if context.inner is module:
            context.inner = None
            entered()
        if not context.sampled:
            return original(module, *args, **kwargs)
        modules = context.modules
        modules.append(module)
        try:
            result = original(module, *args, **kwargs)
        finally:
            if modules:
                modules.pop()
        if id(module) in context.layers:
            layer(module, args, kwargs, result)
        return result

    return nested

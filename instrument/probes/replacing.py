"""Parts of models that are replaced by others, and different tensors of models that lie in one memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.probes.values import placed
from torch.nn.modules import module as torch_module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcrules.instrument.probes.shared import Shared
    from torch import nn

RELATIONS = ("replacement", "alias")
#: Pairs of tensors that are written in a process.
MAX_PAIRS = 256
WHY_MANY = f"more than {MAX_PAIRS} pairs of tensors lie in one memory"


class Replacements:
    """Writes `replacement` when something is registered in the place of another, and `alias` when steps begin."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._pairs: set[tuple[str, str]] = set()
        self._put, self._put_alias = shared.session.put("replacement"), shared.session.put("alias")

    def on_parameter(self, module: nn.Module, name: str, tensor: Any) -> None:
        """A parameter is about to be registered."""
        before = module._parameters.get(name)
        if before is not None and before is not tensor and self._is_known(module):
            known = self.shared.book.known(before)
            self._write(module, name, "parameter", known is not None and known.owner is not None)

    def on_module(self, module: nn.Module, name: str, child: nn.Module | None) -> None:
        """A module is about to be registered with another one."""
        before = module._modules.get(name)
        if before is not None and before is not child and self._is_known(module):
            known = (self.shared.book.known(tensor) for tensor in before.parameters())
            self._write(module, name, "module", any(param is not None and param.owner for param in known))

    def _is_known(self, module: nn.Module) -> bool:
        return not torch.compiler.is_compiling() and self.shared.names.is_adopted(module)

    def _write(self, module: nn.Module, name: str, kind: str, owned: bool) -> None:
        handle = self.shared.names.module(module)
        self._put(handle, name, kind, self.shared.clock.step, self.shared.tick(), owned)

    def step_begins(self) -> None:
        """Look for tensors that overlap; O(n log n) in the steps that are looked at."""
        step = self.shared.clock.step
        if not self.shared.governor.looks(step, "alias"):
            return
        end, last = 0, ""
        for start, stop, name in sorted(self._places()):
            pair = (last, name)
            if start < end and pair not in self._pairs:
                self._alias(pair, step)
            if stop > end:
                end, last = stop, name

    def _alias(self, pair: tuple[str, str], step: int) -> None:
        if len(self._pairs) >= MAX_PAIRS:
            self.shared.session.gap("alias", WHY_MANY)
            return
        self._pairs.add(pair)
        self._put_alias(*pair, step, self.shared.tick())

    def _places(self) -> Iterator[tuple[int, int, str]]:
        """Yield (first byte, byte after the last, name) of the parameters and buffers of all models, each once."""
        seen: set[int] = set()
        for _, record in self.shared.book.models.live():
            found = [(tensor, param.name) for tensor, param in record.live()]
            for module, name, handle in record.buffers:
                owner = module()
                buffer = owner._buffers.get(name) if owner is not None else None
                found += [(buffer, handle)] if buffer is not None else []
            for tensor, handle in found:
                plain = None if id(tensor) in seen else placed(tensor)
                seen.add(id(tensor))
                if plain is not None and plain.numel():
                    start = plain.data_ptr()
                    span = sum((n - 1) * by for n, by in zip(plain.shape, plain.stride(), strict=True)) + 1
                    yield start, start + span * plain.element_size(), handle


def install(shared: Shared) -> None:
    """Register the global registration hooks."""
    replacements, guard = Replacements(shared), shared.guard("replacing")
    hooks = (
        (torch_module.register_module_parameter_registration_hook, replacements.on_parameter),
        (torch_module.register_module_module_registration_hook, replacements.on_module),
    )
    for register, callback in hooks:
        shared.patches.on_undo(register(guard(callback)).remove)
    shared.step_begins.append(("replacing", replacements.step_begins))

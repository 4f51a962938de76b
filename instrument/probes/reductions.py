"""How fingerprints, norms and numbers of device tensors are computed: by few kernels for all tensors of a point.

Launching a kernel takes the host 5 µs: tensors are concatenated and reduced together. What is computed on the way is
freed at once, although nothing has run yet: memory of a stream is only given away again to what is enqueued behind on
it. For the same reason a tensor may be freed by the program while its reading is enqueued, as long as the stream that
reads it is the one that it was made on; for others the program must have waited, as for any use of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from tcrules.instrument.fingerprint import of_rows
from tcrules.instrument.probes.values import widened
from tcrules.instrument.sums import flat, row_count, rows, word_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: Bytes of tensors that are concatenated at once: with the products of their words, up to 48 MB of workspace.
CHUNK = 8 << 20
_NARROW = frozenset({torch.float16, torch.bfloat16})


class Answer:
    """What was asked about a tensor: `value` is None until it is known, and where it never will be."""

    __slots__ = ("value",)

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def get(self) -> Any:
        """Return what facts are made of."""
        return self.value


class Finite(Answer):
    """Whether a tensor is finite; its value is class and norm."""

    __slots__ = ()

    def get(self) -> bool | None:
        """Return it; None while it is unknown."""
        return None if self.value is None else bool(self.value[0] != "nonfinite")


#: A tensor that is asked about; what makes one number of it.
Asked: TypeAlias = "tuple[Answer, torch.Tensor]"
Number: TypeAlias = "tuple[Answer, torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]"


@dataclass(slots=True, eq=False)
class Work:
    """What is on its way from one device: marks before and behind it, and where each answer will be in `result`."""

    first: Any
    last: Any
    result: torch.Tensor
    prints: list[tuple[Answer, torch.dtype, torch.Size, int, int]]
    #: L2 norm and largest absolute value.
    norms: list[tuple[Answer, int, int]]
    numbers: list[tuple[Answer, int]]

    def settle(self) -> None:
        """Read the results, which are there."""
        found = self.result.numpy()
        numbers = found.view("f8")
        for answer, dtype, shape, start, count in self.prints:
            answer.value = of_rows(found[start : start + count].tobytes(), dtype, shape)
        for answer, norm, top in self.norms:
            answer.value = describe(float(numbers[norm]), float(numbers[top]))
        for answer, place in self.numbers:
            answer.value = float(numbers[place])


class Columns:
    """The results of a point while they are made: 64-bit integers, or the bits of floating point numbers."""

    def __init__(self) -> None:
        self._parts: list[torch.Tensor] = []
        self._count = 0

    def joined(self) -> torch.Tensor:
        """Return all results in one tensor."""
        return self._parts[0] if len(self._parts) == 1 else torch.cat(self._parts)

    def _add(self, part: torch.Tensor) -> None:
        self._parts.append(part)
        self._count += part.numel()

    def prints(
        self, asked: list[Asked], factors: torch.Tensor
    ) -> list[tuple[Answer, torch.dtype, torch.Size, int, int]]:
        """Add the row sums of tensors."""
        found = []
        groups: dict[tuple[torch.dtype, int], list[Asked]] = {}
        for answer, tensor in asked:
            word = word_size(tensor.numel() * tensor.element_size())
            groups.setdefault((tensor.dtype, word), []).append((answer, tensor))
        for (_, word), group in groups.items():
            start = self._count
            for answer, tensor in group:
                count = row_count(tensor.numel() * tensor.element_size())
                found.append((answer, tensor.dtype, tensor.shape, start, count))
                start += count
            for parts in _chunks((tensor for _, tensor in group), CHUNK * word // 4):
                self._add(rows(parts, word, factors))
        return found

    def norms(self, asked: list[Asked]) -> list[tuple[Answer, int, int]]:
        """Add L2 norms and largest absolute values; those of narrow types in single precision."""
        found = []
        groups: dict[torch.dtype, list[Asked]] = {}
        for answer, tensor in asked:
            tensor = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else widened(tensor)
            if tensor.numel():
                groups.setdefault(tensor.dtype, []).append((answer, tensor))
            else:
                answer.value = "zero", 0.0
        for dtype, group in groups.items():
            tensors, wide = [tensor for _, tensor in group], torch.float32 if dtype in _NARROW else None
            norms = torch._foreach_norm(tensors, 2, dtype=wide)
            tops = torch._foreach_norm(tensors, math.inf, dtype=wide)
            start, count = self._count, len(group)
            found += [(answer, start + i, start + count + i) for i, (answer, _) in enumerate(group)]
            self._add(torch.stack([*norms, *tops]).to(torch.float64).view(torch.int64))
        return found

    def numbers(self, asked: list[Number]) -> list[tuple[Answer, int]]:
        """Add single numbers, in double precision."""
        found = []
        groups: dict[torch.dtype, list[tuple[Answer, torch.Tensor]]] = {}
        for answer, tensor, make in asked:
            one = make(tensor.detach()).reshape(1).real
            groups.setdefault(one.dtype, []).append((answer, one))
        for group in groups.values():
            found += [(answer, self._count + i) for i, (answer, _) in enumerate(group)]
            self._add(torch.cat([one for _, one in group]).to(torch.float64).view(torch.int64))
        return found


def _chunks(tensors: Iterable[torch.Tensor], limit: int) -> Iterator[list[torch.Tensor]]:
    """Yield flat parts of tensors, whole rows of large ones; those of one list have less than twice `limit` bytes."""
    chunk: list[torch.Tensor] = []
    filled = 0
    for tensor in tensors:
        whole = flat(tensor)
        width = limit // whole.element_size()
        for start in range(0, whole.numel(), width):
            part = whole[start : start + width] if whole.numel() > width else whole
            chunk.append(part)
            filled += part.numel() * part.element_size()
            if filled >= limit:
                yield chunk
                chunk, filled = [], 0
    if chunk:
        yield chunk


def describe(norm: float, top: float) -> tuple[str, float]:
    """Return class and norm. A norm may overflow or vanish where no element does: the largest value tells."""
    if math.isnan(norm) or not math.isfinite(top):
        return "nonfinite", norm
    return "nonzero" if top else "zero", norm


class Quiet:
    """Neither autograd nor autocast nor inference mode touch what runs inside."""

    __slots__ = ("_autocast", "_grad", "_inference")

    def __enter__(self) -> None:
        self._inference = torch.inference_mode(False) if torch.is_inference_mode_enabled() else None
        if self._inference is not None:
            self._inference.__enter__()
        self._grad = torch.is_grad_enabled()
        torch._C._set_grad_enabled(False)
        self._autocast = [kind for kind in ("cuda", "cpu") if torch.is_autocast_enabled(kind)]
        for kind in self._autocast:
            torch.set_autocast_enabled(kind, False)

    def __exit__(self, *_: object) -> None:
        for kind in self._autocast:
            torch.set_autocast_enabled(kind, True)
        torch._C._set_grad_enabled(self._grad)
        if self._inference is not None:
            self._inference.__exit__(None, None, None)

"""Row sums: what device tensors are fingerprinted by, since they can be computed where the data is.

The bytes of a tensor are words of 4 bytes (of 2 or 1, where its size is no multiple), as signed integers, in rows of
512. A row counts by the sum of its words, each multiplied by an odd constant that belongs to its place, modulo 2**64.
Sums of integers are associative: every device, kernel and order of reduction gives the same. Two rows that differ in
one word, or by two words that changed places, have different sums for certain; other differences go unseen with a
probability of 2**-64 to 2**-33 (the latter where only the top bits of words differ). The fingerprint of a tensor is the
exact hash of its rows' sums, of its dtype and of its shape.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Words in a row: 2 kB have a sum of 8 bytes.
ROW = 512
_SEED, _GOLDEN, _MASK = 0x7463_7275_6C65_7301, 0x9E37_79B9_7F4A_7C15, (1 << 64) - 1
_NUMPY: dict[int, Any] = {4: numpy.dtype("<i4"), 2: numpy.dtype("<i2"), 1: numpy.dtype("i1")}
_TORCH = {4: torch.int32, 2: torch.int16, 1: torch.int8}
_SAME_SIZE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
#: Types that every device can concatenate.
_COMMON = frozenset(
    {torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.int8, torch.int16}
    | {torch.int32, torch.int64, torch.bool}
)


@functools.cache
def factors() -> Any:
    """Return the constants of the places of a row, as 64-bit integers; splitmix64, made odd."""
    found = []
    for number in range(1, ROW + 1):
        value = (_SEED + number * _GOLDEN) & _MASK
        value = ((value ^ (value >> 30)) * 0xBF58_476D_1CE4_E5B9) & _MASK
        value = ((value ^ (value >> 27)) * 0x94D0_49BB_1331_11EB) & _MASK
        found.append((value ^ (value >> 31)) | 1)
    return numpy.array(found, numpy.uint64).view(numpy.int64)


def word_size(size: int) -> int:
    """Return the bytes of a word of a tensor of `size` bytes."""
    return 4 if size % 4 == 0 else 2 if size % 2 == 0 else 1


def row_count(size: int) -> int:
    """Return the number of rows of a tensor of `size` bytes."""
    return -(-size // (ROW * word_size(size)))


def host_rows(data: Any, size: int) -> bytes:
    """Return the row sums of `size` bytes in host memory; 0.6 ms per MB."""
    if not size:
        return b""
    words = numpy.frombuffer(data, _NUMPY[word_size(size)])
    if words.size <= ROW:
        one: bytes = numpy.dot(words.astype(numpy.int64), factors()[: words.size]).tobytes()
        return one
    full = words.size // ROW * ROW
    sums = [
        words[at : min(at + (ROW << 7), full)].reshape(-1, ROW) @ factors() for at in range(0, full, ROW << 7)
    ]
    tail = words[full:]
    if tail.size:
        sums.append(numpy.dot(tail.astype(numpy.int64), factors()[: tail.size]).reshape(1))
    all_of_them: bytes = numpy.concatenate(sums).tobytes()
    return all_of_them


def flat(tensor: torch.Tensor) -> torch.Tensor:
    """Return the elements of a plain tensor as real numbers in one dimension; a copy where it is not contiguous."""
    plain = tensor.detach() if tensor.requires_grad else tensor
    if plain.is_complex():
        plain = torch.view_as_real(plain.resolve_conj())
    if plain.is_neg():
        plain = plain.resolve_neg()
    plain = plain.contiguous().view(-1)
    return plain if plain.dtype in _COMMON else plain.view(_SAME_SIZE[plain.element_size()])


def rows(parts: Sequence[torch.Tensor], word: int, factors: torch.Tensor) -> torch.Tensor:
    """Return the row sums of flat tensors of one dtype, one after the other; each begins a row of its own.

    Args:
        parts: not empty; on one device, where the work is enqueued and the result lies.
        word: bytes of a word; it divides the size of each of them.
        factors: `factors()` on that device.

    Besides the result, the workspace takes three times the size of the parts (five where words are of 2 bytes, nine
    where they are of 1).
    """
    pieces: list[torch.Tensor] = []
    size = parts[0].element_size()
    zeros = None
    for part in parts:
        pieces.append(part)
        missing = -(part.numel() * size) % (ROW * word) // size
        if missing:
            zeros = part.new_zeros(ROW * word // size) if zeros is None else zeros
            pieces.append(zeros[:missing])
    joined = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
    return (joined.view(_TORCH[word]).view(-1, ROW) * factors).sum(1)

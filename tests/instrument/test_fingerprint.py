"""Fingerprints are equal exactly for equal dtype, shape and bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tcrules.instrument import sums
from tcrules.instrument.fingerprint import (
    ALGORITHMS,
    choose,
    chosen,
    combine,
    fingerprint,
    fingerprint_bytes,
    of_rows,
)

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool,
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module", params=ALGORITHMS)
def algorithm(request: pytest.FixtureRequest) -> Iterator[None]:
    before = chosen()
    choose(request.param)
    yield
    choose(before)


def from_bytes(data: bytes, dtype: torch.dtype) -> torch.Tensor:
    if dtype == torch.bool:
        return torch.tensor([byte & 1 == 1 for byte in data])
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(dtype)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(DTYPES), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_equal_iff_equal_bits(dtype: torch.dtype, left: bytes, right: bytes):
    a, b, twin = from_bytes(left, dtype), from_bytes(right, dtype), from_bytes(left, dtype)
    assert fingerprint(a) == fingerprint(twin)
    same = a.tolist() == b.tolist() if dtype == torch.bool else left == right
    assert (fingerprint(a) == fingerprint(b)) == same


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=16, max_size=64), st.integers(0, 10_000), st.integers(0, 7))
def test_one_bit_is_enough(data: bytes, place: int, bit: int):
    changed = bytearray(data)
    changed[place % len(data)] ^= 1 << bit
    assert fingerprint(from_bytes(data, torch.uint8)) != fingerprint(from_bytes(bytes(changed), torch.uint8))


def test_shape_dtype_and_position_count():
    x = torch.arange(6.0)
    different = [
        x,
        x.view(2, 3),
        x.view(3, 2),
        x.view(3, 2).t(),
        x.flip(0),
        x.view(torch.int32),
        torch.zeros(6),
    ]
    assert len({fingerprint(t) for t in different}) == len(different)


def test_layout_in_memory_does_not_count():
    x = torch.randn(8, 6)
    assert fingerprint(x.t()) == fingerprint(x.t().contiguous())
    assert fingerprint(x[::2]) == fingerprint(x[::2].clone())
    z = torch.randn(4, dtype=torch.complex64)
    assert fingerprint(z.conj()) == fingerprint(z.conj().resolve_conj())
    assert fingerprint(z.conj().imag) == fingerprint(z.conj().imag.clone())


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (2, 1, 3)])
def test_small_and_empty(shape: tuple[int, ...]):
    value = fingerprint(torch.zeros(shape))
    assert value is not None and -(2**63) <= value < 2**63
    assert value == fingerprint(torch.zeros(shape, requires_grad=True))


def test_signed_zero_and_nan_bits_differ():
    assert fingerprint(torch.tensor([0.0])) != fingerprint(torch.tensor([-0.0]))
    nan = torch.tensor([0x7FC00000, 0x7FC00001], dtype=torch.int32).view(torch.float32)
    assert fingerprint(nan[:1]) != fingerprint(nan[1:])


def test_what_has_no_fingerprint():
    sparse = torch.eye(3).to_sparse()
    quantised = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    nothing = [torch.empty(2, device="meta"), sparse, sparse.to_sparse_csr(), quantised]
    assert [fingerprint(t) for t in nothing] == [None] * 4


def test_nothing_is_touched():
    x = torch.randn(5, requires_grad=True)
    y = x * 2
    state, version = torch.get_rng_state(), y._version
    fingerprint(y)
    fingerprint(x)
    with torch.inference_mode():
        fingerprint(torch.ones(3))
    assert torch.equal(state, torch.get_rng_state()) and y._version == version
    y.sum().backward()
    assert x.grad is not None and torch.equal(x.grad, torch.full((5,), 2.0))


def test_combination_depends_on_order_and_number():
    assert len({combine(v) for v in ([], [1], [1, 2], [2, 1], [1, 2, 0], [-1])}) == 6
    assert fingerprint_bytes(b"a") != fingerprint_bytes(b"b")


# ------------------------------------------------------------------ the sums that devices compute


def by_kernels(tensor: torch.Tensor) -> int:
    """The fingerprint as it is made of what torch's kernels return."""
    size = tensor.numel() * tensor.element_size()
    if not size:
        return of_rows(b"", tensor.dtype, tensor.shape)
    with torch.no_grad():
        found = sums.rows([sums.flat(tensor)], sums.word_size(size), torch.from_numpy(sums.factors()))
    assert found.numel() == sums.row_count(size)
    return of_rows(found.numpy().tobytes(), tensor.dtype, tensor.shape)


def by_bytes(tensor: torch.Tensor) -> int:
    """The fingerprint as it is defined, word by word."""
    plain = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    if not plain.numel():
        return of_rows(b"", tensor.dtype, tensor.shape)
    fresh = torch.empty(plain.shape, dtype=plain.dtype).copy_(plain)
    data = fresh.view(-1).view(torch.uint8).numpy().tobytes()
    width = sums.word_size(len(data))
    words = [
        int.from_bytes(data[at : at + width], "little", signed=True) for at in range(0, len(data), width)
    ]
    factors = [int(factor) for factor in sums.factors()]
    rows = []
    for at in range(0, len(words), sums.ROW):
        total = sum(word * factor for word, factor in zip(words[at : at + sums.ROW], factors, strict=False))
        rows.append(((total + 2**63) % 2**64 - 2**63).to_bytes(8, "little", signed=True))
    return of_rows(b"".join(rows), tensor.dtype, tensor.shape)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Tensors of all dtypes, sizes around a row, and layouts."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(
        st.one_of(st.sampled_from([(), (0,), (3, 0)]), st.lists(st.integers(1, 40), min_size=1, max_size=3))
    )
    count = int(numpy.prod(shape, dtype=int)) * torch.empty(0, dtype=dtype).element_size()
    noise = numpy.random.default_rng(draw(st.integers(0, 2**32))).bytes(count)
    found = (
        from_bytes(noise, dtype).reshape(tuple(shape)) if count else torch.empty(tuple(shape), dtype=dtype)
    )
    layout = draw(st.sampled_from(["plain", "flipped", "transposed", "strided", "conjugated", "negated"]))
    if layout == "flipped" and found.dim() and dtype not in (torch.float8_e4m3fn, torch.float8_e5m2):
        return found.flip(0)
    if layout == "transposed" and found.dim() > 1:
        return found.transpose(0, -1)
    if layout == "strided" and found.dim():
        return found[::2]
    if layout == "conjugated" and found.is_complex():
        return found.conj()
    if layout == "negated" and found.is_complex():
        return found.conj().imag
    return found


@settings(max_examples=150, deadline=None)
@given(tensors())
def test_sums_are_the_same_wherever_they_are_computed(tensor: torch.Tensor):
    before = chosen()
    choose("sums")
    try:
        assert fingerprint(tensor) == by_kernels(tensor) == by_bytes(tensor)
    finally:
        choose(before)


def test_several_tensors_are_summed_at_once():
    parts = [torch.randn(size) for size in (1, 511, 512, 513, 5000)]
    factors = torch.from_numpy(sums.factors())
    together = sums.rows(parts, 4, factors)
    assert torch.equal(together, torch.cat([sums.rows([part], 4, factors) for part in parts]))
    assert together.numel() == sum(sums.row_count(4 * part.numel()) for part in parts)


def test_two_words_that_change_places_are_told_for_certain():
    # words differ by less than 2**32: at most 31 factors of two; those of the places must not make up 64 with them
    factors = sums.factors()
    assert all(int(factor) % 2 for factor in factors) and len(set(factors.tolist())) == sums.ROW
    differences = (factors[:, None] - factors[None, :])[~numpy.eye(sums.ROW, dtype=bool)]
    assert int((differences & -differences).max()) < 1 << 32


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 3000), st.integers(0, 3000))
def test_elements_that_change_places(first: int, second: int):
    x = torch.arange(3001.0)
    y = x.clone()
    y[first], y[second] = x[second], x[first]
    assert (fingerprint(x) == fingerprint(y)) == (first == second)


def test_an_unknown_algorithm():
    with pytest.raises(ValueError, match="xxh3 or sums"):
        choose("md5")

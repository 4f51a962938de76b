"""Fingerprints are equal exactly for equal dtype, shape and bits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tcrules.instrument.fingerprint import combine, fingerprint, fingerprint_bytes

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool,
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip


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

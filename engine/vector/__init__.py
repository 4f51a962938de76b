"""Evaluation in memory with NumPy: rules over columns of 64-bit words. See the section "NumPy" of the README above."""

from tcrules.engine.vector.store import VectorStore

__all__ = ["VectorStore"]

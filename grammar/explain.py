from __future__ import annotations
from tcrules.grammar.diagnostics import Diagnostic, Label
def explain(fault, chunk, source):
    pos = fault.pos_in_stream or 0
    return Diagnostic("TCR101", "error", "unexpected text", (Label(source.span(chunk.start+pos, chunk.start+pos+1)),))

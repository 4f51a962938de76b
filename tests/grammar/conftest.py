"""A rule file with every construct."""

from __future__ import annotations

import pytest

SAMPLE = """// A file with every construct.
import "prelude.tcr"

/// who runs it
type user <: string
relation teacher(module: module, decay: float)
param max_repeats: int = 2 // used below

inside(X, Y) :- parent(X, Y).
inside(X, Z) :- inside(X, Y), parent(Y, Z).
relation depth(of: call, levels: min int)
near(X) :- { parent(X, 1), X > 3 or parent(1, X) }, N = count(Y) { parent(X, Y) or parent(Y, X) }, N < 3
    or inside(X, 1), X = arg_max(Y, Z) { parent(Y, Z) }.
parent(1, 2).

/// doc
invariant optimizer-updates-params @error @tags(optimizer, core) {
    each    optimizer_step(call: C, optimizer: O, step: S), not skipped(call: C),
            update(call: C, param: P, before: B, after: A, lr: LR), LR > 0.0,
            not { other(call: D, at: T), T > B }, // negated conjunction
            N = count { call(call: X, parent: C) }, N >= 1 + $max_repeats//2,
            glob("*.weight", P)
    expect  changed(param: P, during: C)
       or   frozen(param: P)
    about   P, O
    message "step {S}: {P} has a gradient, but {O} left it unchanged (rate {LR:.3g})"
}
invariant x @warning { forbid a(x: X), b(x: -X) message "..." }
template nested-call(?A: api, ?B: api) @tags(nesting) {
    each    call(call: C, api: ?A, training: T)
    guard   T
    expect  call(api: ?B, parent: C)
    message "..."
}
suppress optimizer-updates-params (P: "embed.*", LR: 0.5)
    because "frozen on purpose" // really
    until "2027-01-31"
suppress x because "known"
// the end
"""


@pytest.fixture
def sample() -> str:
    return SAMPLE

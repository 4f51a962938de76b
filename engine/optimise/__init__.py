"""Rewrites that leave the meaning alone, each in a file of its own.

In the order in which they happen:

1. `normalise`: equations between variables and constants become joins and selections
2. `demand`: for a goal, rules that derive only what it asks for
3. `inline`: plain definitions are put where they are used
4. `order`: literals in an order in which bindings stay few, by statistics (executors that do not order themselves)
5. `families`: invariants that differ only by constants become one (`engine/families.py`)
6. `share`: what the bodies of several families begin with is evaluated once
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.optimise.inline import inline
from tcrules.engine.optimise.normalise import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Set

    from tcrules.engine.ir import Program

#: Rewrites of whole programs, in their order.
PASSES: Mapping[str, Callable[[Program], Program]] = {"normalise": normalise, "inline": inline}


def optimised(program: Program, passes: Set[str] = frozenset(PASSES)) -> Program:
    """The program after the passes that rewrite programs."""
    for name, rewrite in PASSES.items():
        if name in passes:
            program = rewrite(program)
    return program

"""clingo on `program.lp facts.lp [relation/columns …]`: grounds, prints numbers of atoms. It need not search a model.

Without relations it prints the number of all atoms, which it knows; to count those of one relation takes a loop.
"""

import sys

import clingo

paths = [argument for argument in sys.argv[1:] if argument.endswith(".lp")]
control = clingo.Control(["--warn=none"])
for path in paths:
    control.load(path)
control.ground([("base", [])])
for argument in sys.argv[1 + len(paths) :]:
    name, columns = argument.split("/")
    print(f"{name}\t{sum(1 for _ in control.symbolic_atoms.by_signature(name, int(columns)))}")
if len(sys.argv) == 1 + len(paths):
    print(f"all\t{len(control.symbolic_atoms)}")

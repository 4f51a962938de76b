"""egglog on `program.egg folder`: the program reads `<relation>.facts` itself and prints sizes in order."""

import sys
from pathlib import Path

from egglog.bindings import EGraph

graph = EGraph(fact_directory=sys.argv[2])
program = Path(sys.argv[1]).read_text()
names = [line.split()[1].rstrip(")") for line in program.splitlines() if line.startswith("(print-size")]
results = graph.run_program(*graph.parse_program(program))
sizes = [str(result) for result in results if "PrintFunctionSize" in repr(result)[:20]]
for name, size in zip(names, sizes, strict=True):
    print(f"{name}\t{size.strip()}")

"""Parsing and analysing big rule files: learned rules as `tcrules infer` prints them, and many rules of four shapes.

    python benchmarks/frontend.py [--lines 200000] [--rules 1000 10000] [--keep learned.tcr] [--tools]

The learned file has rules of every shipped template, filled with different names, numbers, patterns and guards.
Each measurement is a process of its own; memory is its peak.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tcrules.grammar import ast, print_statement
from tcrules.instrument.schema import TYPES
from tcrules.rules.infer.instantiate import helpers, instantiate
from tcrules.rules.infer.model import Evidence, Filling, Learned, Literal, Pattern
from tcrules.rules.infer.templates import TemplateSet, load_templates
from tcrules.rules.infer.write import _doc

FOUR = (
    'invariant a-{0} {{\n    each    call(call: C, api: "outer{0}", step: S)\n'
    '    expect  call(api: "inner{0}", parent: C)\n    message "{{S}}"\n}}\n',
    'invariant b-{0} {{\n    each    gradient(param: "layer{0}.weight", step: S, norm: N), N > {0}.5\n'
    '    expect  metric(step: S, value: L), L < {0}.25\n    message "step {{S}}"\n}}\n',
    'invariant c-{0} {{\n    each    call(call: C, api: "f{0}", step: S), S > {0}\n'
    '    expect  not {{ call(parent: C, api: "g{0}") }}\n    message "step {{S}}: {{C}}"\n}}\n',
    'invariant d-{0} {{\n    forbid  call(call: C, api: "f{0}", step: S), '
    'N = count {{ call(call: X, parent: C) }}, N > {0}\n    message "step {{S}}: {{N}}"\n}}\n',
)
NAMES = {
    "api": ("torch.nn.modules.linear.Linear.forward", "torch.optim.adam.Adam.step", "torch.Tensor.backward"),
    "param": ("encoder.layers.{}.weight", "decoder.layers.{}.attention.bias", "head.{}.weight"),
}


def learned(lines: int, seed: int = 1) -> str:
    """A file of at least `lines` lines of learned rules."""
    chance, templates = random.Random(seed), load_templates()
    out: list[str] = []
    names = sorted(templates.trees)
    while lines > 0:
        rule = random_rule(chance.choice(names), templates, chance)
        tree = instantiate(templates.trees[rule.template], rule, f"learned-{rule.template}-{len(out)}")
        text = print_statement(replace(tree, doc=_doc(templates.trees[rule.template], rule)))
        out.append(text)
        lines -= text.count("\n") + 2
    used = [templates.trees[name] for name in names]
    rules = [print_statement(rule) for rule in helpers(templates.rules, used)]  # type: ignore[arg-type]
    return "\n\n".join([*rules, *out]) + "\n"


def random_rule(name: str, templates: TemplateSet, chance: random.Random) -> Learned:
    """A candidate of a template with random names."""
    shape = templates.shapes[name]
    free = {meta for meta, _ in shape.free}
    filling = tuple(
        (meta, _filling(kind, meta in free, chance)) for meta, kind in (*shape.bound, *shape.free)
    )
    guard = tuple(
        Literal(variable, chance.choice("=") if TYPES[kind] == "bool" else "!=", _value(kind, chance))
        for variable, kind in shape.guard
        if chance.random() < 0.2
    )
    evidence = Evidence(chance.randint(1, 9), chance.randint(3, 10**5), chance.randint(1, 50))
    return Learned(name, filling, guard, evidence)


def _filling(kind: str, free: bool, chance: random.Random) -> Filling:
    if TYPES[kind] != "string" or free or chance.random() < 0.6:
        return _value(kind, chance)
    if chance.random() < 0.5:
        return Pattern(f"*layers.{chance.randint(0, 99)}.*")
    return Pattern("*")


def _value(kind: str, chance: random.Random) -> ast.Value:
    base = TYPES[kind]
    if base == "bool":
        return chance.random() < 0.5
    if base == "int":
        return chance.randint(0, 10**6)
    if base == "float":
        return round(chance.random() * 100, chance.randint(1, 6))
    shown = NAMES.get(kind, ("{}#" + kind, "module.{}." + kind))
    return chance.choice(shown).format(chance.randint(0, 10**5)) + chance.choice(
        ["", f".{chance.randint(0, 99)}"]
    )


def four_shapes(rules: int) -> str:
    """As many rules of four shapes, with names and numbers that differ."""
    return "\n".join(FOUR[number % 4].format(number) for number in range(rules))


def measure(path: Path) -> None:
    """Time and memory of each stage over one file; printed as one line."""
    from tcrules.engine.analyse import analyse, find_files, load

    began = time.perf_counter()
    loaded = load([str(path)], find_files())
    parsed = time.perf_counter()
    analysis = analyse(loaded.programs)
    analysed = time.perf_counter()
    assert analysis.program is not None, analysis.diagnostics[:3]
    from tcrules.engine.families import families

    grouped_from = time.perf_counter()
    found = families(analysis.program.invariants)
    grouped = time.perf_counter() - grouped_from
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{path.name:<16} parse {parsed - began:6.2f} s  analyse {analysed - parsed:6.2f} s  "
        f"families {grouped:6.2f} s  {memory:5.0f} MB  "
        f"({len(analysis.program.invariants)} rules, {len(found)} families, "
        f"{sum(loaded.sources[name].count(chr(10)) for name in loaded.sources)} lines)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--rules", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--keep", type=Path, help="keep the learned file here, or use it if it exists")
    parser.add_argument("--tools", action="store_true", help="measure `tcrules fmt` and `tcrules rules` too")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        measure(options.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for rules in options.rules:
            files.append(Path(folder) / f"four-{rules}.tcr")
            files[-1].write_text(four_shapes(rules))
        if options.lines:
            files.append(options.keep or Path(folder) / "learned.tcr")
            if not files[-1].exists():
                files[-1].write_text(learned(options.lines))
        for path in files:
            subprocess.run([sys.executable, __file__, "--measure", path], check=True)
            if options.tools:
                for tool in (
                    ["fmt", "--check", str(path)],
                    ["rules", "--rules", str(path), "--tag", "learned"],
                ):
                    began = time.perf_counter()
                    subprocess.run([sys.executable, "-m", "tcrules", *tool], capture_output=True, check=False)
                    print(
                        f"{path.name:<16} tcrules {tool[0]:<6} {time.perf_counter() - began:6.2f} s",
                        flush=True,
                    )


if __name__ == "__main__":
    main()

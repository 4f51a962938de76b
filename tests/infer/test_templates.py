"""Each template: what it learns from a healthy training is silent on another one, and finds a fault of its kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import pytest
from tcrules.engine.analyse import analyse, load_text
from tcrules.engine.check import check
from tcrules.engine.facts import Coverage
from tcrules.engine.ir import Invariant, Program
from tcrules.instrument.schema import BY_NAME
from tcrules.rules.infer.collect import count
from tcrules.rules.infer.learn import learn
from tcrules.rules.infer.model import Run
from tcrules.rules.infer.templates import load_templates
from tcrules.rules.infer.write import write

from .scenario import EVALUATE, FROZEN, PARAMS, TRAIN, Facts, in_memory, scenario

EVERYTHING = Coverage(frozenset(BY_NAME))
#: A value that nothing has.
ODD = 777


class Fault(NamedTuple):
    """What goes wrong: facts of a relation that are chosen by columns vanish (`new` is None), change, or come twice."""

    relation: str
    chosen: Mapping[str, Any]
    new: Mapping[str, Any] | None
    more: bool = False

    def into(self, facts: Facts) -> None:
        hit = [one for one in facts[self.relation] if self.chosen.items() <= one.items()]
        assert hit, f"no {self.relation} with {self.chosen}"
        rest = facts[self.relation] if self.more else [one for one in facts[self.relation] if one not in hit]
        facts[self.relation] = rest + ([{**one, **self.new} for one in hit] if self.new is not None else [])


def lost(relation: str, **chosen: Any) -> Fault:
    return Fault(relation, chosen, None)


def changed(relation: str, chosen: Mapping[str, Any], **new: Any) -> Fault:
    return Fault(relation, chosen, new)


def again(relation: str, chosen: Mapping[str, Any], **new: Any) -> Fault:
    return Fault(relation, chosen, new, more=True)


WEIGHT = PARAMS[0]
ONE, LATER = {"rank": 0, "step": 5}, {"rank": 1, "step": 5}
AT_5 = {"rank": 0, "nth": 5}
LATER_STATE = {"rank": 0, "argument": "state"}
FAULTS: dict[str, Fault] = {
    "checkpoint-holds": changed("checkpoint_saved", {"step": 7}, optimizer=False),
    "checkpoint-is-complete": changed("checkpoint_model", {"rank": 0}, missing=2),
    "loaded-values-arrive": changed("checkpoint_tensor", {"point": "held", "key": WEIGHT}, data=ODD),
    "checkpoint-is-current": changed("checkpoint_tensor", {"point": "saved", "key": WEIGHT}, data=ODD),
    "read-is-saved": changed("checkpoint_tensor", {"point": "read", "key": WEIGHT}, data=ODD),
    "load-restores-scheduler": lost("scheduler_loaded", rank=0),
    "loaded-state-is-a-copy": changed("checkpoint_model", {"rank": 0}, shared=3),
    "loss-is-made-of": changed("loss_graph", ONE, made="MseLossBackward0()"),
    "result-is-learned-from": changed("forward_reached", ONE, reached=False),
    "layer-passes-gradient": changed("layer_gradient", ONE, input=False),
    "input-moves-on": changed("forward_argument", {"rank": 0, "argument": "0"}, data=ODD),
    "argument-comes-back": changed("forward_argument", {**LATER_STATE, "step": 4}, kind="none"),
    "argument-is-empty-again": changed("forward_argument", {**LATER_STATE, "step": 6}, kind="tensor"),
    "draws-between-forwards": changed("rng", ONE, before=ODD, after=ODD),
    "windows-are-even": changed("accumulate", ONE, call=ODD),
    "module-option": changed("setting", {"key": "batch_first"}, value="false"),
    "attention-mask": changed("attention_call", ONE, causal=False),
    "gradient-is-averaged": changed("gradient", {**ONE, "param": WEIGHT}, norm=90.0),
    "slots-equal": changed("optimizer_slot", {**LATER, "param": WEIGHT}, data=ODD),
    "settings-equal": changed("param_group", LATER, lr=0.5),
    "ranks-step-together": changed("optimizer_step", LATER, skipped=True),
    "ranks-do-the-same": lost("clip", **LATER),
    "windows-equal": changed("accumulate", LATER, call=ODD),
    "gradient-is-reduced": changed("gradient_point", {**ONE, "point": "backward"}, reduced="local"),
    "collective-results-equal": changed("collective_data", LATER, data=ODD),
    "collective-counts-equal": lost("collective", **LATER),
    "collective-is": changed("collective", ONE, reduction="avg"),
    "collectives-per-step": lost("collective", step=5),
    "metrics-equal": changed("metric", LATER, value=0.1),
    "ranks-share-randomness": changed("rng", LATER, before=ODD),
    "samples-once": changed("epoch_end", {"epoch": 1}, distinct=30),
    "epochs-are-complete": changed("epoch_end", {"epoch": 1}, batches=3),
    "order-of-epochs": changed("epoch_end", {"rank": 0}, order=ODD),
    "labels-stay": changed("batch_sample", {"epoch": 1, "sample": 2}, label=ODD),
    "labels-follow-inputs": changed("batch_sample", {"epoch": 1, "sample": 2}, label=ODD),
    "shards-are-disjoint": changed("batch_sample", {"rank": 1, "sample": 102}, sample=2),
    "field-type": changed("batch_field", {**ONE, "field": "0"}, dtype="float64"),
    "field-varies": changed("batch_field", {**ONE, "field": "0"}, constant=True),
    "batches-are-full": changed("batch", {"index": 1}, size=7),
    "loader-shuffles": changed("loader", {"loader": TRAIN}, shuffle=False),
    "trains-on-loader": changed("forward", ONE, loader=EVALUATE),
    "batch-is-used-as-loaded": changed("batch_use", {**ONE, "role": "input"}, same=False),
    "targets-belong-to-inputs": changed("batch_use", {**ONE, "role": "target"}, index=3),
    "epoch-between-epochs": lost("epoch", loader=EVALUATE, epoch=1),
    "forward-uses-update": changed("param_state", {**ONE, "param": WEIGHT}, data=ODD),
    "frozen-stays": changed("param_state", {**ONE, "param": FROZEN}, data=ODD),
    "slots-move": changed("optimizer_slot", {"rank": 0, "param": WEIGHT}, data=ODD),
    "copy-mode": changed("copy_state", ONE, training=True),
    "copy-owns-storage": changed("copy_state", ONE, shared=2),
    "copy-buffers": changed("copy_state", ONE, buffers=ODD),
    "step-follows-backward": changed("accumulate", {"step": 5}, nth=4),
    "backward-follows-forward": lost("forward", **ONE),
    "gradient-is-clipped": changed("gradient", {**ONE, "param": WEIGHT}, norm=4.0),
    "clipping-takes-effect": changed("gradient", {**ONE, "param": WEIGHT}, norm=4.0),
    "rate-is-positive": changed("param_group", ONE, lr=0.0),
    "steps-in-round": again("optimizer_step", ONE, call=ODD),
    "event-times": again("clip", ONE, at=ODD),
    "event-not-repeated": again("clip", ONE, at=ODD),
    "step-computes-loss": lost("loss_call", rank=0, step=5, api="mse_loss"),
    "forwards-per-step": again("forward", ONE, call=ODD, grad=False),
    "scale-before-step": lost("scaler_scale", **ONE),
    "training-drops": lost("dropout_call", **ONE),
    "layers-follow-mode": changed("forward", ONE, mode_on=0, mode_off=1),
    "layer-follows-autocast": changed("module_call", ONE, autocast="bfloat16"),
    "inputs-differ": changed("forward", {"rank": 0}, input=ODD),
    "inputs-differ-in-step": changed("forward", ONE, input=ODD),
    "ranks-train-on-different-inputs": changed("forward", {"step": 5}, input=ODD),
    "window-adds-up": changed("accumulate", ONE, onto="zero"),
    "clipping-covers-all": changed("clip", ONE, params=1),
    "parameter-count": lost("parameter", param=WEIGHT),
    "member-count": lost("member", param=WEIGHT),
    "param-decays": changed("param_group", {"nth": 0}, weight_decay=0.0),
    "call-contains-times": again("call", {**ONE, "api": "torch.relu"}, call=ODD),
    "schedule-each-epoch": lost("scheduler_step", **ONE),
    "scale-is-updated": lost("scaler_update", **ONE),
    "rate-is-scheduled": changed("param_group", ONE, lr=0.5),
    "rate-only-falls": changed("param_group", ONE, lr=0.5),
    "decay-stays": changed("param_group", ONE, weight_decay=0.5),
    "scale-by-update": changed("scaler_scale", ONE, scale=32.0),
    "slot-counter-grows": changed("optimizer_slot", ONE, counter=1),
    "state-stays-complete": changed("optimizer_state", ONE, filled=1),
    "membership-stays": changed("member", {"param": WEIGHT}, since=ODD),
    "trainability-stays": again("trainability", {"param": WEIGHT}, at=ODD, trainable=False),
    "trainable-gets-gradient": lost("accumulate", param=WEIGHT),
    "param-belongs-to": changed("member", {"param": WEIGHT}, optimizer="Adam#0"),
    "param-group-of": changed("member", {"param": WEIGHT}, group=1),
    "slot-type": changed("optimizer_slot", ONE, dtype="float16"),
    "loss-rows-agree": changed("loss_call", {**ONE, "api": "mse_loss"}, target_shape="4x8"),
    "loss-shapes-equal": changed("loss_call", {**ONE, "api": "mse_loss"}, target_shape="8x1"),
    "loss-target-type": changed("loss_call", ONE, target_dtype="float32"),
    "layer-keeps-type": changed("module_call", ONE, output_dtype="float16"),
    "generation-keeps-limit": changed("generation", {"rank": 0}, returned=8),
    "setting-is-configured": changed("setting", {"key": "lr"}, value="0.01"),
    "result-type": changed("signature", ONE, result="float16[8, 1]"),
    "result-keeps-rows": changed("signature", ONE, result="float32[1]"),
    "gradient-norm": changed("gradient", ONE, norm=90.0),
    "learning-rate": changed("param_group", ONE, lr=3.0),
    "clipped-norm": changed("clip", ONE, norm=90.0),
    "metric-value": changed("metric", ONE, value=9.0),
}  # fmt: skip

#: Where nothing scales losses or clips.
PLAIN_FAULTS: dict[str, Fault] = {
    "gradient-is-untouched": changed("gradient", {**ONE, "param": WEIGHT}, norm=0.7),
    "loss-value": changed("backward", ONE, loss=80.0),
    "backward-follows-forward": lost("forward", **ONE),
}

Rules: TypeAlias = tuple[Program, Mapping[str, list[Invariant]]]


@pytest.fixture(scope="module")
def learned() -> Rules:
    """The rules that three healthy trainings give, by template."""
    return rules_of(plain=False)


@pytest.fixture(scope="module")
def learned_from_plain() -> Rules:
    return rules_of(plain=True)


def rules_of(*, plain: bool) -> Rules:
    templates = load_templates()
    runs = []
    for seed in (1, 2, 3):
        with in_memory(scenario(seed, plain=plain), templates.program) as store:
            counts = {one.invariant.id: count(one, store) for one in templates.program.templates}
        runs.append(Run(f"r{seed}", "train.py", counts))
    loaded = load_text(write(learn(runs, templates.shapes).rules, templates, runs), "learned.tcr")
    program = analyse(loaded.programs).program
    assert program is not None and not loaded.failed
    found: dict[str, list[Invariant]] = defaultdict(list)
    longest_first = sorted(templates.shapes, key=len, reverse=True)
    for invariant in program.invariants:
        name = invariant.id.removeprefix("learned-")
        found[next(one for one in longest_first if name.startswith(one))].append(invariant)
    return program, found


def violated(program: Program, facts: Facts, invariants: list[Invariant]) -> set[str]:
    with in_memory(facts, program) as store:
        verdicts = check(program, store, EVERYTHING, invariants).verdicts
    return {verdict.rule for verdict in verdicts if verdict.violated}


def test_rules_of_all_templates_are_silent_on_a_healthy_training(
    learned: Rules,
) -> None:
    program, rules = learned
    assert len(rules) > 90
    assert violated(program, scenario(9), list(program.invariants)) == set()


@pytest.mark.parametrize("template", FAULTS)
def test_a_rule_of_the_template_finds_a_fault(learned: Rules, template: str) -> None:
    program, rules = learned
    assert rules[template], "nothing was learned"
    facts = scenario(9)
    FAULTS[template].into(facts)
    assert violated(program, facts, rules[template])


@pytest.mark.parametrize("template", PLAIN_FAULTS)
def test_a_rule_of_a_plain_training_finds_a_fault(learned_from_plain: Rules, template: str) -> None:
    program, rules = learned_from_plain
    assert violated(program, scenario(9, plain=True), list(program.invariants)) == set()
    facts = scenario(9, plain=True)
    PLAIN_FAULTS[template].into(facts)
    assert violated(program, facts, rules[template])

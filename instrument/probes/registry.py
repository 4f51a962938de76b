"""The probes, in the order of their installation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcrules.instrument.probes import (
    Probe,
    apis,
    attention,
    autocasting,
    backward,
    checkpoint,
    clearing,
    clipping,
    compiling,
    configuring,
    copies,
    data,
    distributed,
    dropout,
    forward,
    generation,
    generators,
    gradients,
    graphs,
    initialisation,
    loss,
    mode,
    moving,
    optimizer,
    recompute,
    replacing,
    samples,
    scaler,
    scheduler,
    seeding,
    slots,
    states,
    structure,
    ties,
    transforms,
    updates,
    workers,
)

if TYPE_CHECKING:
    from tcrules.instrument.probes.shared import Shared


def _copies(shared: Shared, made: dict[str, Any]) -> None:
    copies.install(shared, copies.Copies(shared, made["structure"], made["states"]))


def _forward(shared: Shared, made: dict[str, Any]) -> None:
    parts = made["structure"], made["ties"], made["states"], made["rng"], made["batches"]
    forward.install(shared, forward.Forward(shared, *parts, made.get("dropout"), made.get("graphs")))


def _optimizer(shared: Shared, made: dict[str, Any]) -> optimizer.Optimizers:
    optimizers = optimizer.Optimizers(shared, made["updates"], made.get("slots"))
    optimizer.install(shared, optimizers)
    return optimizers


#: Name, relations, installation. Later ones may use earlier ones.
PROBES: tuple[Probe, ...] = (
    Probe("structure", structure.RELATIONS, lambda shared, _: structure.install(shared)),
    Probe("replacing", replacing.RELATIONS, lambda shared, _: replacing.install(shared), optional=True),
    Probe("ties", ties.RELATIONS, lambda shared, _: ties.install(shared)),
    Probe("states", states.RELATIONS, lambda shared, _: states.States(shared)),
    Probe("rng", generators.RELATIONS, lambda shared, _: generators.Generators(shared)),
    Probe("gradients", gradients.RELATIONS, lambda shared, _: gradients.Points(shared), optional=True),
    Probe("updates", updates.RELATIONS, lambda shared, _: updates.Updates(shared)),
    Probe("slots", slots.RELATIONS, lambda shared, _: slots.Slots(shared), optional=True),
    Probe("optimizer", optimizer.RELATIONS, _optimizer),
    Probe("workers", workers.RELATIONS, lambda shared, _: workers.install(shared)),
    Probe("batches", ("batch_use",), lambda shared, _: data.Batches(shared)),
    Probe("samples", samples.RELATIONS, lambda shared, _: samples.Samples(shared), optional=True),
    Probe(
        "data",
        data.RELATIONS,
        lambda shared, made: data.install(shared, made["batches"], made.get("workers"), made.get("samples")),
    ),
    Probe("dropout", dropout.RELATIONS, lambda shared, _: dropout.install(shared), optional=True),
    Probe("attention", attention.RELATIONS, lambda shared, _: attention.install(shared), optional=True),
    Probe("graphs", graphs.RELATIONS, lambda shared, _: graphs.Graphs(shared), optional=True),
    Probe("forward", forward.RELATIONS, _forward),
    Probe("copies", copies.RELATIONS, _copies),
    Probe("initialisation", initialisation.RELATIONS, lambda shared, _: initialisation.install(shared)),
    Probe("mode", mode.RELATIONS, lambda shared, _: mode.install(shared), optional=True),
    Probe(
        "moving",
        moving.RELATIONS,
        lambda shared, made: moving.install(shared, made.get("optimizer")),
        optional=True,
    ),
    Probe("autocasting", autocasting.RELATIONS, lambda shared, _: autocasting.install(shared), optional=True),
    Probe("loss", loss.RELATIONS, lambda shared, made: loss.install(shared, made["batches"]), optional=True),
    Probe(
        "backward",
        backward.RELATIONS,
        lambda shared, made: backward.install(
            shared, made["structure"], made.get("gradients"), made.get("graphs")
        ),
    ),
    Probe("clearing", clearing.RELATIONS, lambda shared, _: clearing.install(shared)),
    Probe(
        "clipping",
        clipping.RELATIONS,
        lambda shared, made: clipping.install(shared, made.get("gradients")),
        optional=True,
    ),
    Probe(
        "scaler",
        scaler.RELATIONS,
        lambda shared, made: scaler.install(shared, made["optimizer"], made.get("gradients")),
    ),
    Probe("scheduler", scheduler.RELATIONS, lambda shared, _: scheduler.install(shared), optional=True),
    Probe("configuring", configuring.RELATIONS, configuring.install, optional=True),
    Probe("generation", generation.RELATIONS, lambda shared, _: generation.install(shared), optional=True),
    Probe("seeding", seeding.RELATIONS, lambda shared, _: seeding.install(shared), optional=True),
    Probe("distributed", distributed.RELATIONS, lambda shared, _: distributed.install(shared), optional=True),
    Probe("apis", apis.RELATIONS, lambda shared, _: apis.install(shared), optional=True),
    Probe("recompute", (), lambda shared, _: recompute.install(shared)),
    Probe("transforms", (), lambda shared, _: transforms.install(shared)),
    Probe("compiling", (), lambda shared, _: compiling.install(shared)),
    Probe(
        "checkpoint", checkpoint.RELATIONS, lambda shared, made: checkpoint.install(shared, made.get("slots"))
    ),
)

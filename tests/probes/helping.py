"""Pieces of trainings that several tests run."""

from __future__ import annotations

import io

import torch
from torch import nn


def scaled_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, loss: torch.Tensor
) -> None:
    """Backward and step as mixed precision makes them: scaled, unscaled, clipped."""
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()


def average_into(average: nn.Module, model: nn.Module) -> None:
    """Move an averaged model towards the one that trains."""
    with torch.no_grad():
        for old, new in zip(average.parameters(), model.parameters(), strict=True):
            old.lerp_(new, 0.1)


def save_and_load(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write a checkpoint into memory, and go on from it."""
    buffer = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
    buffer.seek(0)
    state = torch.load(buffer)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])

"""What the program was configured with: settings in the frames that build it, and those that its objects have."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.frames import variables
from tcrules.instrument.identity import IdentityMap
from tcrules.instrument.names import walk
from tcrules.instrument.privacy import names_secret, scrub
from torch import nn
from torch.optim import Optimizer, lr_scheduler
from torch.utils.data import dataloader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tcrules.instrument.probes.shared import Shared

RELATIONS = ("config", "setting")
#: Variables whose entries or attributes are settings.
CONTAINERS = frozenset(
    [
        *("args", "arguments", "cfg", "config", "conf", "configuration", "opt", "options", "opts", "flags"),
        *("hparams", "hyperparameters", "hps", "hp", "params", "settings", "training_args", "model_args"),
    ]
)
#: Frames that are looked at, outwards; variables of a frame, entries of a container, settings of a process and of an
#: object; how deep containers are nested; longest text.
MAX_FRAMES, MAX_NAMES, MAX_ALL, MAX_OWN, MAX_DEPTH, MAX_TEXT = 6, 64, 512, 2000, 3, 128
#: Texts that may be settings: names, paths, versions; not sentences, which may be data.
_TEXT = re.compile(r"[\w./:+@~=,-]*\Z")
_LOADER = ("batch_size", "num_workers", "drop_last", "pin_memory", "prefetch_factor", "persistent_workers")
_SAMPLER = ("shuffle", "seed", "num_replicas", "rank", "replacement", "drop_last", "num_samples")
Value = bool | int | float | str


class Configuration:
    """Writes `config` from frames, until the first step is done, and `setting` of objects."""

    def __init__(self, shared: Shared, optimizers: Any, schedulers: Any, loaders: Any) -> None:
        self.shared = shared
        none: IdentityMap[Any] = IdentityMap()
        self._tables: tuple[tuple[str, IdentityMap[Any], Callable[[str, Any], None]], ...] = (
            ("optimizer", getattr(optimizers, "records", none), self._optimizer),
            ("scheduler", getattr(schedulers, "records", none), self._scheduler),
            ("loader", getattr(loaders, "epochs", none), self._loader),
        )
        #: Objects whose settings were written; how often the tables and models had changed then.
        self._done: IdentityMap[bool] = IdentityMap()
        self._seen: tuple[int, ...] = ()
        self._put, self._put_setting = shared.session.put("config"), shared.session.put("setting")
        self._known: set[tuple[str, str, str]] = set()
        self._frames: set[tuple[int, int]] = set()
        self._settings = 0

    def look(self) -> None:
        """Read the frames of user code that are running; each line of code once, 2 µs per variable."""
        if self.shared.clock.step or len(self._known) >= MAX_ALL or self._has_stepped():
            return
        environment = frozenset(value for value in os.environ.values() if len(value) > 3)
        seen: set[int] = set()
        for number, frame in enumerate(self.shared.session.user_frames()):
            if number >= MAX_FRAMES:
                break
            spaces = (
                [frame.f_code.co_qualname] if id(frame.f_globals) in seen else [frame.f_code.co_qualname, ""]
            )
            seen.add(id(frame.f_globals))
            for function in spaces:
                if (id(frame.f_code), frame.f_lasti if function else -1) not in self._frames:
                    self._frames.add((id(frame.f_code), frame.f_lasti if function else -1))
                    self._read(variables(frame) if function else frame.f_globals, function, environment)

    def _has_stepped(self) -> bool:
        return any(record.owner.nth for _, record in self._tables[0][1].live())

    def _read(self, names: Mapping[str, Any], function: str, environment: frozenset[str]) -> None:
        where = "" if function == "<module>" else function
        for container, key, value in list(_settings(names)):
            text = text_of(value)
            # a flag tells nothing of the environment, where "true" is the value of many a variable
            private = not isinstance(value, bool) and text in environment
            if private or (container, key, text) in self._known or len(self._known) >= MAX_ALL:
                continue
            self._known.add((container, key, text))
            self._put(key, text, "frame", container, where, *number_of(value))

    def _own(self, kind: str, name: str, part: int, values: Mapping[str, Any]) -> None:
        """Write the settings that an object has; other values than numbers, flags and short texts are left out."""
        for key, value in values.items():
            for path, item in _items(key, value):
                if self._settings >= MAX_OWN:
                    self.shared.session.gap("setting", f"more than {MAX_OWN} settings")
                    return
                self._settings += 1
                self._put_setting(kind, name, part, path, text_of(item), *number_of(item))

    # ------------------------------------------------------------------ objects
    def step_begins(self) -> None:
        """Look at the loop, and write the settings of what is new in it; 1 µs when nothing is."""
        if not self.shared.clock.step:
            self.look()
        book = self.shared.book
        now = (book.stamp, book.models.puts, *(table.puts for _, table, _ in self._tables))
        if now == self._seen:
            return
        self._seen = now
        for kind, table, write in self._tables:
            for thing in self._new(table.live()):
                write(getattr(self.shared.names, kind)(thing), thing)
        for model, _ in book.models.live():
            for module in self._new((module, None) for _, module in walk(model)):
                self._public("module", self.shared.names.module(module), module)

    def _new(self, things: Iterable[tuple[Any, Any]]) -> Iterator[Any]:
        for thing, _ in things:
            if self._done.get(thing) is None:
                self._done.put(thing, True)
                yield thing

    def _optimizer(self, name: str, optimizer: Any) -> None:
        for number, group in enumerate(optimizer.param_groups):
            values = {key: group[key] for key in group if key != "params"}
            self._own("optimizer", name, number, {key: _plain(value) for key, value in values.items()})

    def _loader(self, name: str, loader: Any) -> None:
        """Write the settings of a loader, and as its part 1 those of its sampler."""
        self._own("loader", name, 0, {key: getattr(loader, key, None) for key in _LOADER})
        found = _attributes(getattr(loader, "sampler", None))
        self._own("loader", name, 1, {key: found.get(key) for key in _SAMPLER})

    def _scheduler(self, name: str, scheduler: Any) -> None:
        self._public("scheduler", name, scheduler)

    def _public(self, kind: str, name: str, thing: Any) -> None:
        """Write the public attributes of an object."""
        values = {key: value for key, value in vars(thing).items() if not key.startswith("_")}
        values.pop("training", None)  # it changes: see `forward`
        self._own(kind, name, 0, values)


def _settings(names: Mapping[str, Any]) -> Iterator[tuple[str, str, Value]]:
    """Yield (container, key, value) of the settings among some variables."""
    count = 0
    for name, value in list(names.items()):
        if name.startswith("_") or count >= MAX_NAMES:
            continue
        if name.lower() in CONTAINERS:
            for key, item in list(_entries("", value, MAX_DEPTH))[:MAX_NAMES]:
                yield name, key, item
        elif is_setting(name, value):
            count += 1
            yield "", name, value


def _entries(path: str, value: Any, depth: int) -> Iterator[tuple[str, Value]]:
    """Yield (path, value) of what is set in a container; no code of the user's runs."""
    found = value if type(value) is dict else _attributes(value)
    for key, item in list(found.items()):
        if not isinstance(key, str) or key.startswith("_"):
            continue
        name = f"{path}.{key}" if path else key
        if is_setting(key, item):
            yield name, item
        elif depth > 1 and (type(item) is dict or dataclasses.is_dataclass(item)) and not names_secret(key):
            yield from _entries(name, item, depth - 1)


def _attributes(value: Any) -> Mapping[str, Any]:
    if isinstance(value, (type, nn.Module, torch.Tensor)) or type(value).__module__ == "builtins":
        return {}
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}


def _items(key: str, value: Any) -> Iterator[tuple[str, Value]]:
    if is_setting(key, value):
        yield key, value
    elif type(value) in (tuple, list) and len(value) <= 8:
        for number, item in enumerate(value):
            if is_setting(key, item):
                yield f"{key}.{number}", item
    elif key.lower() in CONTAINERS:
        for path, item in _entries(key, value, 1):
            yield path, item


def _plain(value: Any) -> Any:
    """Return the number in an option of an optimizer, which may be a tensor (a rate that is captured in a graph)."""
    is_number = isinstance(value, torch.Tensor) and value.is_cpu and value.numel() == 1
    return value.item() if is_number else value


def is_setting(name: str, value: Any) -> bool:
    """Return whether a variable is a number, a flag or a short text, and not named like a secret."""
    kind = type(value)
    if kind is str:
        return len(value) <= MAX_TEXT and _TEXT.match(value) is not None and not names_secret(name)
    return (kind is bool or kind is float or (kind is int and abs(value) < 1 << 62)) and not names_secret(
        name
    )


def text_of(value: Value) -> str:
    """Return a setting as text, flags as on a command line."""
    return (
        str(value).lower()
        if isinstance(value, bool)
        else scrub(value)
        if isinstance(value, str)
        else repr(value)
    )


def number_of(value: Value) -> tuple[bool, float]:
    """Return whether a setting is a number, and which."""
    if isinstance(value, (bool, str)):
        return False, 0.0
    return (True, float(value)) if not math.isnan(value) else (False, 0.0)


def install(shared: Shared, made: dict[str, Any]) -> None:
    """Look at the frames where optimizers, schedulers and loaders are made, and at the loop."""
    parts = made.get("optimizer"), made.get("scheduler"), made.get("data")
    configuration = Configuration(shared, *parts)
    guard = shared.guard("configuring")
    look = guard(lambda *_: configuration.look())
    for cls in (Optimizer, lr_scheduler.LRScheduler, dataloader.DataLoader):
        shared.patches.around(cls, "__init__", guard(lambda args, _kwargs: True), look)
    shared.step_begins.append(("configuring", configuration.step_begins))

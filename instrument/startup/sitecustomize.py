"""Runs at the start of every Python process below `tcrules record`; does nothing until torch is imported.

Imported by `site` because the folder is first on PYTHONPATH. It steps aside at once: the folder leaves
`sys.path`, and a `sitecustomize` that the user has runs as if this one did not exist. Only `os` and `sys` are
imported.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # `typing` would be a heavy import
if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any


def _step_aside() -> None:
    """Leave `sys.path` as it would be without us, and run the `sitecustomize` that we stand before."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if not path or os.path.abspath(path) != here]
    ours = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as fault:
        if fault.name != "sitecustomize":
            raise
    finally:
        # the import system is going to look for the module that it is just loading
        if ours is not None:
            sys.modules.setdefault("sitecustomize", ours)


def _load() -> ModuleType:
    """Return the package, also where the traced interpreter does not have it installed."""
    try:
        from tcrules.instrument import session
    except ImportError:
        import importlib
        import importlib.util
        import types

        home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        if "tcrules" not in sys.modules:
            sys.modules["tcrules"] = types.ModuleType("tcrules")
            sys.modules["tcrules"].__path__ = []
        parent: Any = sys.modules["tcrules"]
        spec = importlib.util.spec_from_file_location(
            "tcrules.instrument", os.path.join(home, "__init__.py"), submodule_search_locations=[home]
        )
        assert spec is not None and spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules["tcrules.instrument"] = parent.instrument = package
        spec.loader.exec_module(package)
        parent.emit, parent.watch = package.emit, package.watch
        session = importlib.import_module("tcrules.instrument.session")
    return session


def _start() -> None:
    """Start recording; whatever fails, the training goes on."""
    try:
        import json

        options = json.loads(os.environ.get("TCRULES_OPTIONS") or "{}")
        _load().start(os.environ["TCRULES_RUN"], options)
    except Exception as fault:
        if os.environ.get("TCRULES_DEBUG"):
            sys.stderr.write(f"tcrules: not recording: {type(fault).__name__}: {fault}\n")


class _TorchFinder:
    """Finds torch as if it were not there, and starts the recorder when torch was imported."""

    def __init__(self) -> None:
        self._asking = False

    def find_spec(
        self, name: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "torch" or path is not None or self._asking:
            return None
        self._asking = True
        try:
            spec = self._ask_others(name, target)
        finally:
            self._asking = False
        if spec is not None and spec.loader is not None:
            self._watch(spec.loader)
        return spec

    def _ask_others(self, name: str, target: ModuleType | None) -> ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, None, target)
                if spec is not None:
                    return spec
        return None

    def _watch(self, loader: Loader) -> None:
        original = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # the class's method is back: nobody can tell that it was replaced
            original(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _start()

        try:
            loader.exec_module = exec_module  # type: ignore[method-assign]
        except AttributeError:
            pass


if os.environ.get("TCRULES_RUN") and not any(type(f).__name__ == "_TorchFinder" for f in sys.meta_path):
    if "torch" in sys.modules:
        _start()
    else:
        sys.meta_path.insert(0, _TorchFinder())
_step_aside()

"""Rule files to a typed program: `load` reads files and imports, `analyse` runs all passes."""

from tcrules.engine.analyse.imports import Finder, Loaded, Source, find_files, load, load_text
from tcrules.engine.analyse.interface import fill
from tcrules.engine.analyse.program import Analysis, analyse
from tcrules.engine.analyse.symbols import SourceProgram

__all__ = [
    "Analysis",
    "Finder",
    "Loaded",
    "Source",
    "SourceProgram",
    "analyse",
    "fill",
    "find_files",
    "load",
    "load_text",
]

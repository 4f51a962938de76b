"""Writes the page: a template with everything in it, under a content policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import TYPE_CHECKING

from tcrules.report.model import LOUD
from tcrules.report.terminal import plain

if TYPE_CHECKING:
    from tcrules.report.page.content import Content

_HOME = files("tcrules.report.page")
#: Cytoscape adds this style unless there is an element of that name; the policy would refuse it.
_CYTOSCAPE_STYLE = ".__________cytoscape_container { position: relative; }"


def render(content: Content) -> str:
    """The page as HTML text."""
    import jinja2

    style = _HOME.joinpath("page.css").read_text("utf-8")
    scripts = [_HOME.joinpath("page.js").read_text("utf-8")]
    graphs = {told.story.root.id: told.graph for told in content.told if told.graph is not None}
    if graphs:
        scripts.insert(0, _HOME.joinpath("vendor", "cytoscape.min.js").read_text("utf-8"))
    scripts = [script.replace("</script", "<\\/script") for script in scripts]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = plain
    template = environment.from_string(_HOME.joinpath("page.html").read_text("utf-8"))
    return template.render(
        content=content,
        report=content.report,
        verdict=_verdict(content),
        style=style,
        cytoscape_style=_CYTOSCAPE_STYLE,
        scripts=scripts,
        policy=_policy([style, _CYTOSCAPE_STYLE], scripts),
        data=_data(graphs),
    )


def _verdict(content: Content) -> str:
    report = content.report
    if any(violation.severity in LOUD for violation in report.violations):
        return "faulty"
    return "clean" if report.evaluated else "not checked"


def _data(graphs: object) -> str:
    """JSON that cannot end the element that it stands in."""
    text = json.dumps(graphs, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(styles: list[str], scripts: list[str]) -> str:
    """Nothing may be loaded; of styles and scripts only those that are part of the page, known by their hashes."""
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"style-src {' '.join(map(_hash, styles))}; script-src {' '.join(map(_hash, scripts))}"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

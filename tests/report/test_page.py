"""The page: whole without network and script, bounded, and safe whatever names a run has."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import networkx as nx
import pytest

from tcrules.report.graph import Node
from tcrules.report.model import Cause, GapNote, Location, Report, RuleText, RuleVerdict, Violation
from tcrules.report.page.build import render
from tcrules.report.page.content import MOST_GRAPHS, MOST_NODES, MOST_STORIES, gather

HOSTILE = [
    "</script><script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "\u202eRTL", "x" * 10_000, "{{ 7 * 7 }}",
    "<!--", "]]>", "\x1b[2J\0", "&lt;b&gt;",
]  # fmt: skip


def violation(number: int, name: str = "w", **changes: Any) -> Violation:
    given = {
        "id": f"V{number}", "rule": "some-rule", "severity": "error", "first_step": 3, "last_step": 9, "count": 7,
        "ranks": (0, 1), "subjects": (name,), "message": f"step 3: {name} is wrong",
        "location": Location(f"/x/{name[:50]}.py".replace("\0", ""), 4), "instance": 0, "root": True, "cluster": number,
        "cause": Cause("high", 0),
    }  # fmt: skip
    return Violation(**(given | changes))


def graph_of(shown: Violation) -> tuple[Any, str]:
    graph: Any = nx.DiGraph()
    names = [
        shown.id,
        *(
            f"n{number}"
            for number in range(int(shown.subjects[0] or "3") if shown.subjects[0].isdigit() else 3)
        ),
    ]
    for number, name in enumerate(names):
        kind = "violation" if number == 0 else "fact"
        graph.add_node(name, node=Node(name, kind, f"{kind} of {shown.subjects[0]}", 3, 0, shown.location))
        if number:
            graph.add_edge(names[(number - 1) // 2], name, kind="because", facts=())
    return graph, shown.id


def page(tmp_path: Path, *violations: Violation, **changes: Any) -> str:
    verdicts = {
        "some-rule": RuleVerdict("some-rule", "violated" if violations else "held", len(violations), 3)
    }
    given = {
        "run": "runs/a", "violations": violations, "verdicts": verdicts, "steps": 12,
        "rules": {"some-rule": RuleText("error", ("tag",), "It holds.", {"example": "a missing call"})},
    }  # fmt: skip
    manifest = SimpleNamespace(
        command="python train.py", status="finished", exit_code=0, started=1.0, ended=3.5, host="h", python="3.11",
        torch="2.13", processes=({"rank": 0, "role": "trainer"},),
    )  # fmt: skip
    folder: Any = SimpleNamespace(facts=tmp_path, manifest=manifest)
    return render(gather(Report(**(given | changes)), folder, {}, graph_of))


class Reader(HTMLParser):
    """Tags, attributes and texts of a page as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script" and dict(attrs).get("type") != "application/json":
            self.scripts.append("")
        elif tag == "style":
            self.styles.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script" and self.tags[-1][1].get("type") != "application/json":
            self.scripts[-1] += data
        elif self._inside == "style":
            self.styles[-1] += data
        else:
            self.texts.append(data)


def hashes(texts: list[str]) -> Iterator[str]:
    for text in texts:
        yield f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_nothing_is_loaded_and_only_known_scripts_run(tmp_path: Path):
    read = Reader(page(tmp_path, violation(1)))
    (policy,) = (
        a["content"] or "" for tag, a in read.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert len(read.scripts) == 2 and all(one in policy for one in hashes(read.scripts))
    assert len(read.styles) == 2 and all(one in policy for one in hashes(read.styles))
    names = {name for _, attributes in read.tags for name in attributes}
    assert not {"src", "srcset", "style", "action"} & names and not [n for n in names if n.startswith("on")]
    links = [a["href"] for tag, a in read.tags if "href" in a]
    assert links and all(link is not None and link.startswith("#") for link in links)


def test_hostile_names_are_text(tmp_path: Path):
    told = [violation(n, name) for n, name in enumerate(HOSTILE, 1)]
    plain = Reader(page(tmp_path, violation(1)))
    read = Reader(
        page(tmp_path, *told, run=HOSTILE[0], notes=(HOSTILE[1],), gaps=(GapNote("r", "a", "b", HOSTILE[1]),))
    )
    assert {tag for tag, _ in read.tags} <= {tag for tag, _ in plain.tags} | {"tr", "td", "code", "p"}
    assert len([tag for tag, _ in read.tags if tag == "script"]) == len(
        [tag for tag, _ in plain.tags if tag == "script"]
    )
    text = "".join(read.texts)
    for name in HOSTILE[:2]:
        assert f"step 3: {name} is wrong" in text
    assert "{{ 7 * 7 }}" in text and "\x1b" not in text and "\0" not in text


def test_it_can_be_read_without_a_script(tmp_path: Path):
    read = Reader(page(tmp_path, violation(1)))
    text = "".join(read.texts)
    for part in ("faulty", "some-rule", "step 3: w is wrong", "/x/w.py:4", "a missing call", "confidence high",
                 "python train.py", "violated"):  # fmt: skip
        assert part in text
    assert [tag for tag, _ in read.tags].count("svg") == 2, "the graph and the timeline"
    assert "fact of w" in text


def test_the_page_of_a_clean_run(tmp_path: Path):
    text = page(tmp_path)
    assert "No rule is violated." in text and ">clean<" in text
    assert len(text) < 60_000, "without graphs nothing is carried to draw them"
    assert ">not checked<" in page(tmp_path, verdicts={})


def test_a_hundred_thousand_violations_fit(tmp_path: Path):
    many = [violation(n, f"layer.{n}.weight", cluster=n // 20, root=n % 20 == 0) for n in range(1, 100_001)]
    text = page(tmp_path, *many)
    assert len(text.encode()) < 5e6
    found = len({one.cluster for one in many if one.root})
    assert f"{found - MOST_STORIES} further causes" in text
    assert text.count('role="application"') == MOST_GRAPHS


def test_a_large_graph_is_cut_around_its_violation(tmp_path: Path):
    text = page(tmp_path, violation(1, str(3 * MOST_NODES)))
    (data,) = re.findall(r'id="graphs">(.*?)</script>', text)
    graph = json.loads(data)["V1"]
    assert len(graph["nodes"]) == MOST_NODES and graph["nodes"][0]["depth"] == 0
    known = {node["id"] for node in graph["nodes"]}
    assert all({edge["source"], edge["target"]} <= known for edge in graph["edges"])


@pytest.mark.parametrize("name", ["cytoscape.min.js"])
def test_what_is_carried_is_what_the_manifest_says(name: str):
    vendor = files("tcrules.report.page") / "vendor"
    told = json.loads((vendor / "manifest.json").read_text("utf-8"))[name]
    assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == told["sha256"]
    assert told["version"] in (vendor / name).read_text("utf-8")
    assert told["licence"] == "MIT" and "Permission is hereby granted" in (
        vendor / "cytoscape.LICENSE"
    ).read_text("utf-8")

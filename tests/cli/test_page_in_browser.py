"""The page of a run with hostile names in a browser: what it loads, shows and can do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tcrules.paging import page_of
from tcrules.selection import Selection

from .conftest import FAULTY, tcrules

HOSTILE = "</script><img src=x onerror=(title=1)>\u202e\"'" + "x" * 10_000


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run whose layers have hostile names."""
    folder = tmp_path_factory.mktemp("page")
    named = "".join(f"\n    ({name!r}, {layer})," for name, layer in (
        ("0", "nn.Linear(4, 8)"), (HOSTILE, "nn.ReLU()"), (HOSTILE + "2", "nn.Linear(8, 1)")))  # fmt: skip
    script = FAULTY.replace("nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))",
                            f"nn.Sequential(__import__('collections').OrderedDict([{named}\n]))")  # fmt: skip
    (folder / "train.py").write_text(script, encoding="utf-8")
    done = tcrules("record", "-o", "run", "--", sys.executable, "train.py", cwd=folder)
    assert done.returncode == 0, done.stderr
    own = folder / "own.tcr"
    own.write_text(
        "invariant own @warning { each gradient(rank: R, param: P, step: S, norm: N) expect N < 0.0 about P "
        'message "step {S}: {P} {N}" }\n'
        'invariant other @note { each step(rank: R, step: S) expect S > 9 message "step {S}" }'
    )
    text, report = page_of(folder / "run", Selection(rules=(own,)))
    assert {violation.rule for violation in report.violations} >= {"gradients-start-empty", "own", "other"}
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8", errors="replace")
    return file


@pytest.fixture
def shown(browser: Any, page: Path) -> Any:
    browser.get_log("performance"), browser.get_log("browser")
    browser.get(page.as_uri())
    return browser


def test_it_loads_without_a_request_or_a_complaint(shown: Any, page: Path):
    asked = [json.loads(entry["message"])["message"] for entry in shown.get_log("performance")]
    requests = [
        one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"
    ]
    assert {url for url in requests if not url.startswith(("data:", "blob:"))} == {page.as_uri()}
    assert shown.get_log("browser") == []
    assert shown.title.startswith("faulty: "), "no script of the run's names has run"


def test_the_graph_is_drawn_and_unfolds(shown: Any):
    drawn = "return document.querySelector('.story[open] .graph').cy"
    assert shown.execute_script(f"{drawn}.nodes(':visible').length") > 3
    place = shown.find_element("css selector", ".story[open] .graph")
    assert place.find_elements("css selector", "canvas")
    before = shown.execute_script(f"{drawn}.nodes(':selected').length")
    place.send_keys("\ue015")  # arrow down
    assert before == 0 and shown.execute_script(f"{drawn}.nodes(':selected').length") == 1
    zoom = shown.execute_script(f"{drawn}.zoom()")
    place.send_keys("+")
    assert shown.execute_script(f"{drawn}.zoom()") > zoom
    folded = shown.execute_script(f"""const cy = {drawn.removeprefix("return ")};
        const node = cy.nodes().filter((one) => one.outgoers('node').length)[0];
        node.outgoers('node').addClass('folded');
        const before = cy.nodes().not('.folded').length;
        node.emit('tap');
        return [before, cy.nodes().not('.folded').length]""")
    assert folded[0] < folded[1]


def test_stories_open_with_a_graph_of_their_own(shown: Any):
    closed = shown.find_elements("css selector", ".story:not([open])")
    assert closed
    closed[0].find_element("css selector", "summary").click()
    assert closed[0].find_elements("css selector", ".graph canvas")


def test_search_and_severities_filter(shown: Any):
    visible = (
        "return [...document.querySelectorAll('.story')].filter((one) => !one.hidden)"
        ".map((one) => one.querySelector('code').textContent)"
    )
    every = shown.execute_script(visible)
    body = shown.find_element("css selector", "body")
    body.send_keys("/")
    assert shown.switch_to.active_element.get_attribute("id") == "search"
    shown.switch_to.active_element.send_keys("gradients-start")
    assert shown.execute_script(visible) == ["gradients-start-empty"]
    rows = shown.find_elements("css selector", "#rules tbody tr:not([hidden])")
    assert [row.find_element("css selector", "code").text for row in rows] == ["gradients-start-empty"]
    shown.switch_to.active_element.send_keys("\ue00c")  # escape
    assert shown.execute_script(visible) == every
    shown.find_element("css selector", "#severities input[value=note]").click()
    assert shown.execute_script(visible) == [rule for rule in every if rule != "other"]


def test_timeline_and_plots_have_lines(shown: Any):
    assert shown.find_elements("css selector", "#timeline svg rect.bar")
    assert shown.find_elements("css selector", "#plots svg path.line")
    assert shown.find_elements("css selector", "#plots svg line.marked")


def test_hostile_names_are_shown_as_text(shown: Any):
    assert not shown.find_elements("css selector", "img")
    assert HOSTILE[:36] in shown.execute_script("return document.querySelector('main').textContent")
    wide = shown.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1], "long names do not widen the page"

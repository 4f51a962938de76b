"""Pages of runs with faults of several kinds, in a browser: read, searched and unfolded, with and without a script.

The programs are those of `tests/mutations`; each is recorded by the one test that looks at its page.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tcrules.paging import page_of
from tcrules.report.page.content import MOST_NODES
from tcrules.selection import Selection

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mutations"))

from playing import play
from suite import load

#: Program, fault; the rule of the first root cause; what is plotted, with the violation marked; ranks of the timeline.
PAGES = [
    ("regression", "no-zero-grad", "gradients-start-empty", "norm of all gradients", ()),
    ("shapes_cnn", "training-mode-not-restored", "training-mode-is-restored", "forwards of models", ()),
    ("shapes_cnn", "features-frozen", "frozen-params-were-trained", "", ()),
    ("scaled_fp16", "clip-scaled", "clip-after-unscale", "scale of the loss", ()),
    ("contrastive", "workers-with-one-seed", "workers-draw-differently", "", ()),
    ("resume", "optimizer-not-restored", "resume-restores-optimizer", "step counter of the optimizer", ()),
    ("replicas", "module-without-wrapper", "forward-through-wrapper", "loss", (0, 1)),
    ("replicas", "scheduler-on-one-rank", "learning-rates-agree", "learning rate", (1,)),
]
#: `cy` of the graph of the first cause, which is open.
GRAPH = "document.querySelector('.story[open] .graph').cy"
SHOWN = "return [...document.querySelectorAll('{}')].filter((one) => !one.hidden).length"


@pytest.mark.parametrize(("name", "fault", "rule", "plotted", "ranks"), PAGES)
def test_page(
    name: str, fault: str, rule: str, plotted: str, ranks: tuple[int, ...], tmp_path: Path, browser: Any
) -> None:
    file = written(name, fault, tmp_path)
    browser.get_log("performance"), browser.get_log("browser")
    browser.get(file.as_uri())
    assert requests(browser) == {file.as_uri()}
    assert browser.find_element("css selector", ".story[open] summary code").text == rule
    check_graph(browser)
    check_charts(browser, plotted, ranks)
    check_search(browser, rule)
    check_colours(browser)
    assert browser.get_log("browser") == [], "no script complains, whatever was done"
    check_without_script(browser, rule)


def written(name: str, fault: str, folder: Path) -> Path:
    """The page of a faulty program's run."""
    program = next(one for one in load() if one.name == name)
    script = program.faulty(next(one for one in program.faults if one.id == fault), folder)
    run, output = folder / "run", folder / "output.txt"
    code = play(script, program.check[0], processes=program.processes, output=output, run=run)
    assert code == 0, [path.read_text() for path in folder.glob("output.txt*")]
    file = folder / "report.html"
    file.write_text(page_of(run, Selection())[0], encoding="utf-8", errors="replace")
    return file


def requests(browser: Any) -> set[str]:
    """Addresses that the browser asked for; what a page carries itself is none."""
    told = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {one["params"]["request"]["url"] for one in told if one["method"] == "Network.requestWillBeSent"}
    return {url for url in urls if not url.startswith(("data:", "blob:"))}


def check_graph(browser: Any) -> None:
    """It is drawn, within its limit; keys choose a node and unfold what lies below."""
    place = browser.find_element("css selector", ".story[open] .graph")
    assert place.find_elements("css selector", "canvas")
    nodes, edges = browser.execute_script(f"return [{GRAPH}.nodes().length, {GRAPH}.edges().length]")
    assert 3 < nodes <= MOST_NODES and edges >= nodes - 1
    assert browser.execute_script(f"return {GRAPH}.nodes(':visible')[0].data('kind')") == "violation"
    place.send_keys("\ue015")  # arrow down
    assert browser.execute_script(f"return {GRAPH}.nodes(':selected').length") == 1
    folded = browser.execute_script(f"""{GRAPH}.nodes().unselect();
        const root = {GRAPH}.nodes()[0];
        root.outgoers('node').addClass('folded');
        root.select();
        return {GRAPH}.nodes().not('.folded').length""")
    place.send_keys("\ue007")  # enter
    assert browser.execute_script(f"return {GRAPH}.nodes().not('.folded').length") > folded


def check_charts(browser: Any, plotted: str, ranks: tuple[int, ...]) -> None:
    """The timeline names steps and ranks; the quantity that the rule speaks of is drawn, the violation marked."""
    bars = browser.find_elements("css selector", "#timeline svg rect.bar")
    texts = [text.text for text in browser.find_elements("css selector", "#timeline svg text")]
    assert bars and "step 0" in texts
    assert [f"rank {rank}" for rank in ranks] == [
        text.rpartition(" · ")[2] for text in texts if text.startswith("V1 ")
    ] or not ranks
    if plotted:
        charts = browser.find_elements("css selector", "#plots svg")
        titles = [
            chart.find_element("css selector", "text.title").text.removesuffix(" (log)") for chart in charts
        ]
        chart = charts[titles.index(plotted)]
        assert chart.find_elements("css selector", "path.line")
        assert chart.find_elements("css selector", "line.marked")


def check_search(browser: Any, rule: str) -> None:
    """Search and severities leave what fits."""
    causes, rules = (browser.execute_script(SHOWN.format(one)) for one in (".story", "#rules tbody tr"))
    browser.find_element("css selector", "body").send_keys("/")
    field = browser.switch_to.active_element
    assert field.get_attribute("id") == "search"
    field.send_keys(rule)
    assert 1 <= browser.execute_script(SHOWN.format(".story")) <= causes
    assert browser.execute_script(SHOWN.format("#rules tbody tr")) == 1
    field.send_keys(" nothing-has-this-word")
    assert browser.execute_script(SHOWN.format(".story")) == 0
    field.send_keys("\ue00c")  # escape
    assert browser.execute_script(SHOWN.format("#rules tbody tr")) == rules
    boxes = browser.find_elements("css selector", "#severities input")
    for box in boxes:
        box.click()
    assert browser.execute_script(SHOWN.format(".story")) == 0
    for box in boxes:
        box.click()
    assert browser.execute_script(SHOWN.format(".story")) == causes


def check_colours(browser: Any) -> None:
    """Light and dark: paper and ink change places, in the graph as well."""
    from selenium.webdriver.support.wait import WebDriverWait

    for scheme in ("dark", "light"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

        def is_shown(_: Any, scheme: str = scheme) -> bool:
            found = browser.execute_script(
                "const style = getComputedStyle(document.body); return [style.backgroundColor, style.color,"
                f" {GRAPH}.nodes()[0].style('background-color'), {GRAPH}.nodes()[0].style('color')]"
            )
            paper, ink, box, text = (sum(map(int, one[4:-1].split(","))) for one in found)
            dark, bright = (
                (max(paper, box), min(ink, text)) if scheme == "dark" else (max(ink, text), min(paper, box))
            )
            return dark < 200 and bright > 600

        # the page is told of the change after the browser has drawn it
        WebDriverWait(browser, 10).until(is_shown, f"{scheme} colours")


def check_without_script(browser: Any, rule: str) -> None:
    """The same page where scripts are forbidden: verdict, cause, picture and proof are there, nothing is left empty."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.refresh()
        story = browser.find_element("css selector", ".story[open]")
        assert rule in story.text
        assert [one for one in browser.find_elements("css selector", ".scripted") if one.is_displayed()] == []
        for part in ("details.still", "details.proof"):
            story.find_element("css selector", f"{part} > summary").click()
        assert story.find_element("css selector", ".picture svg").is_displayed()
        assert rule in story.find_element("css selector", ".proof pre").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

"use strict";
// What the page can do beyond being read: filter, search, and graphs that unfold.
(() => {
  const all = (selector) => Array.from(document.querySelectorAll(selector));
  const graphs = JSON.parse(document.getElementById("graphs").textContent);
  const search = document.getElementById("search");
  const stories = all(".story");
  const rows = all("#rules tbody tr");
  for (const element of all(".scripted")) element.hidden = false;

  // ------------------------------------------------------------------------------------------ search and filter
  const texts = new Map([...stories, ...rows].map((one) => [one, one.textContent.toLowerCase()]));

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const loud = new Set(all("#severities input:checked").map((box) => box.value));
    const fits = (one) => words.every((word) => texts.get(one).includes(word));
    for (const story of stories) story.hidden = !(loud.has(story.dataset.severity) && fits(story));
    for (const row of rows) row.hidden = !fits(row);
    const shown = stories.filter((story) => !story.hidden).length;
    document.getElementById("found").textContent = shown === stories.length ? "" : `${shown} of ${stories.length} causes`;
  }

  search.addEventListener("input", filter);
  for (const box of all("#severities input")) box.addEventListener("change", filter);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(event.target.tagName)) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape" && event.target === search) {
      search.value = "";
      filter();
      search.blur();
    }
  });

  // ------------------------------------------------------------------------------------------ graphs
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const FIRST = 2; // as far from the violation a large graph is unfolded from the beginning
  const READABLE = 0.8;
  const SMALL = 25; // nodes of a graph that is shown as a whole

  function style() {
    const kinds = { violation: "error", missing: "warning", call: "note", object: "good", parting: "warning", reference: "good" };
    return [
      { selector: "node", style: { shape: "round-rectangle", label: "data(shown)", "text-wrap": "wrap", "text-valign": "center",
          "text-halign": "center", "font-size": 11, "font-family": "ui-monospace, monospace", width: "data(width)", height: "data(height)",
          "background-color": colour("paper"), "border-width": 1.2, "border-color": colour("line"), color: colour("ink") } },
      ...Object.entries(kinds).map(([kind, name]) => ({ selector: `node[kind = "${kind}"]`, style: { "border-color": colour(name), "border-width": 2 } })),
      { selector: 'node[kind = "missing"], node[kind = "near"]', style: { "border-style": "dashed" } },
      { selector: "node:selected", style: { "border-width": 4 } },
      { selector: "edge", style: { width: 1.2, "line-color": colour("line"), "target-arrow-color": colour("line"), "target-arrow-shape": "triangle",
          "curve-style": "bezier", label: "data(kind)", "font-size": 9, color: colour("soft"), "text-background-color": colour("panel"), "text-background-opacity": 1 } },
      { selector: "edge[?sideways]", style: { "line-style": "dotted" } },
      { selector: ".folded", style: { display: "none" } },
    ];
  }

  function draw(place) {
    const graph = graphs[place.dataset.graph];
    if (!graph || place.cy) return;
    const nodes = graph.nodes.map((node) => ({ data: { ...node, shown: node.label }, position: { x: node.x, y: node.y } }));
    const edges = graph.edges.map((edge) => ({ data: edge }));
    const cy = cytoscape({ container: place, elements: [...nodes, ...edges], layout: { name: "preset" }, style: style(),
      minZoom: 0.1, maxZoom: 3, autoungrabify: false });
    place.cy = cy;
    const small = graph.nodes.length <= SMALL;
    cy.nodes().forEach((node) => { node.toggleClass("folded", !small && node.data("depth") > FIRST); });
    const count = () => cy.nodes().forEach((node) => {
      const hidden = node.outgoers("node.folded").length;
      node.data("shown", node.data("label") + (hidden ? `\n+${hidden} more` : ""));
    });
    const toggle = (node) => {
      const below = node.outgoers("node");
      const folded = below.filter(".folded");
      if (folded.length) folded.removeClass("folded");
      else if (!small) node.successors("node").filter((one) => one.data("depth") > Math.max(FIRST, node.data("depth"))).addClass("folded");
      count();
    };
    cy.on("tap", "node", (event) => toggle(event.target));
    cy.on("mouseover", "node", (event) => { place.title = event.target.data("whole"); });
    count();
    cy.fit(cy.nodes(":visible"), 20);
    const fitting = cy.zoom();
    if (fitting > 1.1 || fitting < READABLE) { // begin where it can be read: at the violation
      cy.zoom(fitting > 1.1 ? 1.1 : READABLE);
      const root = cy.nodes().filter((node) => node.data("depth") === 0)[0];
      cy.panBy({ x: cy.width() / 2 - root.renderedPosition().x, y: 12 - root.renderedBoundingBox().y1 });
    }
    place.addEventListener("keydown", (event) => step(cy, event, toggle));
  }

  // Arrow keys walk from node to node, Enter unfolds, + and - zoom, 0 shows everything.
  function step(cy, event, toggle) {
    const chosen = cy.$("node:selected");
    const here = chosen.length ? chosen[0] : cy.nodes(":visible")[0];
    const go = (several) => { if (several.length) { cy.$(":selected").unselect(); several[0].select(); cy.center(several[0]); } };
    const beside = (side) => cy.nodes(":visible").filter((node) => Math.abs(node.position("y") - here.position("y")) < 40
      && (node.position("x") - here.position("x")) * side > 0).sort((a, b) => side * (a.position("x") - b.position("x")));
    const keys = {
      ArrowDown: () => go(here.outgoers("node").filter(":visible")),
      ArrowUp: () => go(here.incomers("node").filter(":visible")),
      ArrowRight: () => go(beside(1)),
      ArrowLeft: () => go(beside(-1)),
      Enter: () => toggle(here),
      "+": () => cy.zoom({ level: cy.zoom() * 1.25, renderedPosition: { x: cy.width() / 2, y: cy.height() / 2 } }),
      "-": () => cy.zoom({ level: cy.zoom() / 1.25, renderedPosition: { x: cy.width() / 2, y: cy.height() / 2 } }),
      0: () => cy.fit(cy.nodes(":visible"), 20),
    };
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  }

  for (const story of stories) {
    const place = story.querySelector(".graph");
    if (!place) continue;
    if (story.open) draw(place);
    story.addEventListener("toggle", () => { if (story.open) draw(place); });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const place of all(".graph")) if (place.cy) place.cy.style(style());
  });
  if (location.hash.startsWith("#V")) {
    const story = document.getElementById(location.hash.slice(1));
    if (story) story.open = true;
  }
})();

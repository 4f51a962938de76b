"""One self-contained HTML page about a run: verdict, causes with their graphs, timeline, plots, rules, coverage.

`content.py` gathers what the page says, `series.py` and `charts.py` what it draws, `build.py` writes it. All of it can
be read without JavaScript; `page.js` adds filter, search and graphs that unfold.
"""

"""Runs in the browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import pytest

from tcrules.selection import Selection
from tcrules.serving import LOOPBACK, Runs


@pytest.fixture(scope="module")
def server(runs: Path) -> Iterator[Runs]:
    with Runs([runs], Selection()) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield served
        served.shutdown()


def get(server: Runs, path: str, host: str = LOOPBACK, method: str = "GET") -> tuple[int, str]:
    connection = HTTPConnection(LOOPBACK, server.server_port, timeout=120)
    connection.request(method, path, headers={"Host": f"{host}:{server.server_port}"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_index_and_pages(server: Runs, runs: Path):
    status, index = get(server, "/")
    address = f"/run/{quote(str(runs / 'faulty'), safe='')}"
    assert status == 200 and address in index
    status, page = get(server, address)
    assert status == 200 and "gradients-start-empty" in page and ">faulty<" in page
    assert server.page(runs / "faulty") is server.page(runs / "faulty"), "made once"


@pytest.mark.parametrize(
    "path", ["/run/../../etc/passwd", "/run/%2Fetc", "/etc/passwd", "/run/", "/favicon.ico"]
)
def test_only_what_is_listed_is_shown(server: Runs, path: str):
    assert get(server, path)[0] == 404


def test_only_this_machine_is_answered_and_nothing_is_changed(server: Runs):
    assert server.server_address[0] == LOOPBACK
    assert get(server, "/", host="evil.example")[0] == 403
    assert get(server, "/", method="POST")[0] == 501


def test_a_run_that_cannot_be_read_is_no_end(server: Runs, runs: Path):
    broken = runs / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    status, index = get(server, "/")
    assert status == 200 and "broken" in index
    assert get(server, f"/run/{quote(str(broken), safe='')}")[0] == 500

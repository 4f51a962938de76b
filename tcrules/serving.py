"""Runs in the browser: an index of folders of runs, and the page of each; read-only, on this machine alone."""

from __future__ import annotations

import threading
import traceback
from contextlib import suppress
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from tcrules.instrument.overview import NO_RUN, overviews
from tcrules.paging import page_of
from tcrules.report.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tcrules.instrument.overview import Overview
    from tcrules.selection import Selection

LOOPBACK = "127.0.0.1"
#: A page in another origin must not reach this one by a name that it points here (DNS rebinding).
_HOSTS = frozenset({LOOPBACK, "localhost"})
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_INDEX = """<!doctype html><html lang="en"><meta charset="utf-8"><title>runs</title>
<style>body {{ font: 15px/1.6 system-ui, sans-serif; margin: 24px auto; max-width: 1000px; color-scheme: light dark; }}
table {{ border-collapse: collapse; width: 100%; }} td, th {{ text-align: left; padding: 3px 10px 3px 0; }}</style>
<h1>Runs</h1><table><thead><tr><th>run</th><th>status</th><th>steps</th><th>ranks</th><th>command</th></tr></thead>
<tbody>{rows}</tbody></table><p>The first look at a run takes some seconds: it is checked then.</p></html>"""


class Runs(ThreadingHTTPServer):
    """Serves the runs in folders.

    A page is made when it is asked for the first time, and again when the run has changed since.
    """

    daemon_threads = True

    def __init__(self, folders: Sequence[Path], selection: Selection, port: int = 0) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self.folders, self.selection = tuple(folders), selection
        self._pages: dict[Path, tuple[float, str]] = {}
        self._one_at_a_time = threading.Lock()

    @property
    def address(self) -> str:
        """Where the index is."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    def found(self) -> dict[str, Overview]:
        """The runs by the name in their address: only what is listed can be asked for."""
        return {str(one.path): one for one in overviews(self.folders) if one.status != NO_RUN}

    def index(self) -> str:
        """The list of runs as HTML."""
        return _INDEX.format(rows="".join(_row(name, one) for name, one in self.found().items()))

    def page(self, run: Path) -> str:
        """The page of a run as HTML."""
        with self._one_at_a_time:
            changed = _changed(run)
            known = self._pages.get(run)
            if known is None or known[0] != changed:
                known = self._pages[run] = changed, page_of(run, self.selection)[0]
            return known[1]


class _Handler(BaseHTTPRequestHandler):
    server: Runs
    server_version = "tcrules"
    sys_version = ""

    def do_GET(self) -> None:
        if self.headers.get("Host", "").rpartition(":")[0] not in _HOSTS:
            self._send(HTTPStatus.FORBIDDEN, "only for this machine", "text/plain")
            return
        path = unquote(urlsplit(self.path).path)
        try:
            run = self.server.found().get(path.removeprefix("/run/"))
            if path == "/":
                self._send(HTTPStatus.OK, self.server.index(), "text/html", _POLICY)
            elif run is not None and path.startswith("/run/"):
                self._send(HTTPStatus.OK, self.server.page(run.path), "text/html")
            else:
                self._send(HTTPStatus.NOT_FOUND, "there is no such run", "text/plain")
        except BrokenPipeError:
            pass  # who asked has gone
        except Exception as fault:
            self.log_error("%s", traceback.format_exc())
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, f"this run cannot be shown: {fault}", "text/plain")

    def _send(self, status: HTTPStatus, text: str, kind: str, policy: str = "") -> None:
        content = text.encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        if policy:
            self.send_header("Content-Security-Policy", policy)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass  # the terminal is for faults


def _changed(run: Path) -> float:
    """When something was written last: a run that goes on writes segments."""
    found = 0.0
    for path in (run / "run.json", *run.glob("segments/*/*")):
        with suppress(FileNotFoundError):  # segments go away when a run is sealed
            found = max(found, path.stat().st_mtime)
    return found


def _row(name: str, run: Overview) -> str:
    link = (
        f'<a href="/run/{quote(name, safe="")}">{escape(plain(name))}</a>'
        if not run.why
        else escape(plain(name))
    )
    cells = [
        link,
        escape(plain(run.status)),
        str(run.steps),
        str(run.ranks),
        escape(plain(run.command)[:200]),
    ]
    return f"<tr>{''.join(f'<td><bdi>{cell}</bdi></td>' for cell in cells)}</tr>"


__all__ = ["LOOPBACK", "Runs"]

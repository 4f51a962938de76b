"""The language server as an editor meets it: a process of its own, JSON-RPC over stdin and stdout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pygls")

TEXT = """import "base.tcr"

relation edge(from: int, to: int)
param most: int = 3

/// Pairs that are connected.
path(X, Y) :- edge(X, Y).
path(X, Z) :- path(X, Y), edge(Y, Z), Z < $most.

invariant short-paths @error {
    each    path(From, To), step(step: S)
    expect  near(From, To), abs(From) < 10
    message "step {S}: {From} is far from {To}"
}
"""
BASE = "near(X, Y) :- edge(X, Y), X = Y.\n"


class Client:
    """Sends requests and notifications; keeps notifications that come between."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tcrules", "lsp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, cwd=folder,
        )  # fmt: skip
        self.number = 0
        self.notes: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        length = 0
        while (line := self.process.stdout.readline()).strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        assert length, "the server ended"
        return json.loads(self.process.stdout.read(length))

    def notify(self, method: str, **parameters: Any) -> None:
        self.send({"method": method, "params": parameters})

    def request(self, method: str, **parameters: Any) -> Any:
        self.number += 1
        self.send({"id": self.number, "method": method, "params": parameters})
        while True:
            message = self.receive()
            if message.get("id") == self.number and "method" not in message:
                return message.get("result", message.get("error"))
            self.notes.append(message)

    def diagnostics(self, uri: str) -> list[dict[str, Any]]:
        """The next diagnostics of a file."""
        while True:
            message = self.notes.pop(0) if self.notes else self.receive()
            if message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri:
                return message["params"]["diagnostics"]


class Editor:
    """One file, open."""

    def __init__(self, folder: Path, text: str = TEXT) -> None:
        self.client = Client(folder)
        self.uri = (folder / "rules.tcr").as_uri()
        self.folder = folder
        self.text = text
        self.capabilities = self.client.request(
            "initialize", processId=None, rootUri=folder.as_uri(), capabilities={}
        )["capabilities"]
        self.client.notify("initialized")
        self.open(self.uri, text)

    def open(self, uri: str, text: str) -> None:
        document = {"uri": uri, "languageId": "tcr", "version": 1, "text": text}
        self.client.notify("textDocument/didOpen", textDocument=document)

    def change(self, text: str) -> None:
        self.text = text
        document = {"uri": self.uri, "version": 2}
        self.client.notify("textDocument/didChange", textDocument=document, contentChanges=[{"text": text}])

    def position(self, place: str, after: int = 0, nth: int = 0) -> dict[str, int]:
        """Where a text stands, in lines and UTF-16 units."""
        offset = -1
        for _ in range(nth + 1):
            offset = self.text.index(place, offset + 1)
        before = self.text[: offset + after]
        line = before.rpartition("\n")[2]
        return {"line": before.count("\n"), "character": len(line.encode("utf-16-le")) // 2}

    def ask(self, method: str, place: str, after: int = 0, nth: int = 0, **more: Any) -> Any:
        return self.client.request(
            f"textDocument/{method}",
            textDocument={"uri": self.uri},
            position=self.position(place, after, nth),
            **more,
        )

    def applied(self, edits: list[dict[str, Any]]) -> str:
        """The text after edits."""
        lines = self.text.split("\n")
        starts = [0]
        for line in lines:
            starts.append(starts[-1] + len(line) + 1)
        text = self.text
        for edit in sorted(
            edits, key=lambda e: (e["range"]["start"]["line"], e["range"]["start"]["character"])
        )[::-1]:
            start, end = (
                min(len(self.text), starts[p["line"]] + p["character"])
                for p in (edit["range"]["start"], edit["range"]["end"])
            )
            text = text[:start] + edit["newText"] + text[end:]
        return text

    def close(self) -> None:
        self.client.request("shutdown")
        self.client.notify("exit")
        assert self.client.process.wait(10) == 0


@pytest.fixture
def editor(tmp_path: Path):
    (tmp_path / "base.tcr").write_text(BASE)
    (tmp_path / "rules.tcr").write_text(TEXT)
    opened = Editor(tmp_path)
    yield opened
    opened.close()


def test_faults_come_and_go(editor: Editor):
    assert editor.client.diagnostics(editor.uri) == []
    editor.change(
        TEXT.replace("near(From, To)", "nearr(From, To)").replace("param most: int", "param most: itn")
    )
    found = {fault["code"]: fault for fault in editor.client.diagnostics(editor.uri)}
    assert {"TCR201", "TCR206"} <= set(found)
    fault = found["TCR201"]
    assert "did you mean `near`?" in fault["message"]
    assert fault["range"]["start"] == editor.position("nearr")
    assert fault["severity"] == 1 and fault["source"] == "tcrules"
    editor.change(TEXT)
    assert editor.client.diagnostics(editor.uri) == []


def test_an_open_file_counts_before_it_is_saved(editor: Editor):
    editor.client.diagnostics(editor.uri)
    editor.open((editor.folder / "base.tcr").as_uri(), BASE.replace("near", "next_to"))
    assert [fault["code"] for fault in editor.client.diagnostics(editor.uri)] == ["TCR201"]


def test_columns_are_counted_in_utf16(editor: Editor):
    editor.change(TEXT.replace("// no", "") + '\nbad(X) :- edge(X, Y), "😀" = "é", nope(Y).\n')
    editor.client.diagnostics(editor.uri)
    (fault,) = [fault for fault in editor.client.diagnostics(editor.uri) if fault["code"] == "TCR201"]
    assert fault["range"]["start"] == editor.position("nope")


@pytest.mark.parametrize(
    ("place", "after", "words"),
    [
        ("step(step: S)", 1, ["step(rank: rank", "step: step"]),
        ("step: S)", 1, ["**step** of `step`"]),
        ("path(X, Y)", 1, ["path(int, int)", "Pairs that are connected."]),
        ("edge(X, Y)", 1, ["edge(from: int, to: int)"]),
        ("From, To), step", 1, ["`From`: **int**"]),
        ("{S}", 1, ["`S`: **step**"]),
        ("abs(", 1, ["abs(number): same", "absolute value"]),
        ("$most", 2, ["param most: int = 3"]),
    ],
)
def test_hover(editor: Editor, place: str, after: int, words: list[str]):
    found = editor.ask("hover", place, after)
    for word in words:
        assert word in found["contents"]["value"]


def test_hover_tells_the_meaning_of_recorded_columns(editor: Editor):
    from tcrules.instrument.schema import BY_NAME

    (column,) = (column for column in BY_NAME["epoch"].columns if column.name == "epoch")
    editor.change("p(X) :- epoch(epoch: X).\n")
    text = editor.ask("hover", "epoch: X")["contents"]["value"]
    assert column.doc and column.doc in text and column.type in text


def test_completion(editor: Editor):
    def labels(place: str, after: int) -> list[str]:
        return [item["label"] for item in editor.ask("completion", place, after)["items"]]

    assert "step" in labels("step(step: S)", 2)
    assert labels("From, To), step", 2) == ["From"]
    assert labels("$most", 2) == ["$most"]
    editor.change(TEXT + "late(S) :- optimizer_step(opt")  # not finished, as when somebody types
    assert labels("optimizer_step(opt", 18) == ["optimizer"]


def target(editor: Editor, place: str, after: int = 1, nth: int = 0) -> list[tuple[str, int]]:
    return [
        (Path(found["uri"]).name, found["range"]["start"]["line"])
        for found in editor.ask("definition", place, after, nth)
    ]


def test_definition(editor: Editor):
    assert target(editor, "edge(Y, Z)") == [("rules.tcr", 2)]
    assert target(editor, "near(From") == [("base.tcr", 0)]
    assert target(editor, "path(From") == [("rules.tcr", 6), ("rules.tcr", 7)]
    assert target(editor, "$most", 2) == [("rules.tcr", 3)]
    assert target(editor, "{To}", 2) == [("rules.tcr", 10)]
    assert target(editor, "step(step") == []


def renamed(editor: Editor, place: str, new: str, after: int = 1) -> dict[str, Any]:
    return editor.ask("rename", place, after, newName=new)


def test_rename_relation_in_all_files(editor: Editor):
    changes = renamed(editor, "edge(X, Y)", "link")["changes"]
    assert {Path(uri).name: len(edits) for uri, edits in changes.items()} == {"rules.tcr": 3, "base.tcr": 1}
    text = editor.applied(changes[editor.uri])
    assert text == TEXT.replace("edge", "link")


def test_rename_variable_in_its_statement_only(editor: Editor):
    changes = renamed(editor, "From, To), step", "Source")["changes"]
    head, mark, statement = TEXT.partition("invariant")
    assert editor.applied(changes[editor.uri]) == head + mark + statement.replace("From", "Source")
    changes = renamed(editor, "X, Z) :-", "A")["changes"]
    assert len(changes[editor.uri]) == 2


def test_rename_parameter(editor: Editor):
    changes = renamed(editor, "$most", "limit", 2)["changes"]
    assert editor.applied(changes[editor.uri]) == TEXT.replace("most", "limit")


@pytest.mark.parametrize(
    ("place", "new", "why"),
    [
        ("step(step: S)", "moment", "recorded runs"),
        ("edge(X, Y)", "path", "already"),
        ("From, To), step", "To", "already"),
        ("From, To), step", "from", "is no name of a variable"),
        ("edge(X, Y)", "Link", "is no name of a relation"),
        ("abs(", "size", "no name of"),
    ],
)
def test_rename_refused(editor: Editor, place: str, new: str, why: str):
    assert why in renamed(editor, place, new)["message"]


def test_formatting_is_that_of_fmt(editor: Editor):
    from tcrules.grammar.parser import parse
    from tcrules.grammar.printer import print_program

    def ask() -> Any:
        options = {"tabSize": 4, "insertSpaces": True}
        return editor.client.request(
            "textDocument/formatting", textDocument={"uri": editor.uri}, options=options
        )

    ugly = TEXT.replace(" :- ", ":-").replace("    each    ", "each ")
    editor.change(ugly)
    canonical = print_program(parse(ugly, "rules.tcr").program)
    assert editor.applied(ask()) == canonical != ugly
    editor.change(canonical)
    assert ask() is None
    editor.change("broken(")
    assert ask() is None


def test_outline(editor: Editor):
    found = editor.client.request("textDocument/documentSymbol", textDocument={"uri": editor.uri})
    assert [symbol["name"] for symbol in found] == ["edge", "most", "path", "short-paths"]

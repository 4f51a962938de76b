"""Finds for each comment the node that it belongs to, so that printing a tree loses none.

A comment belongs to
1. the statement or literal that ends before it on the same line (the outermost such), or else
2. the next literal inside of whatever encloses it, or else
3. what encloses it: a literal, a statement; or outside of all, the next statement.
A doc comment inside of a statement, or before an import, has no place as such and becomes a plain comment.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, TypeAlias

from tcrules.grammar import ast
from tcrules.grammar.molds import Stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.grammar.scan import Comment, Source

Host: TypeAlias = ast.Statement | ast.TestCase | Stamp | ast.Literal
Documented: TypeAlias = (
    ast.TypeDeclaration
    | ast.RelationDeclaration
    | ast.ParameterDeclaration
    | ast.Rule
    | ast.Invariant
    | ast.Template
    | Stamp
    | ast.Suppression
)


def attach(host: Host, comments: tuple[str, ...]) -> None:
    """Set the comments of a node that the parser has just made.

    Nodes are frozen for their users. A comment's owner is known only once the whole statement is built, and
    building it again around one changed leaf would cost more code than this one exception.
    """
    object.__setattr__(host, "comments", comments)


def place(
    statements: Sequence[ast.Statement | ast.TestCase | Stamp],
    literals: Sequence[ast.Literal],
    comments: Sequence[Comment],
    source: Source,
) -> tuple[str, ...]:
    """Attach `comments` (and docs) to the nodes; returns those after the last statement.

    `literals` are all literals of the statements that may own comments.
    """
    hosts: list[Host] = sorted([*statements, *literals], key=lambda host: (host.span.start, -host.span.end))
    starts = [host.span.start for host in hosts]
    top = {id(statement) for statement in statements}
    owned: dict[int, list[str]] = {}
    docs: dict[int, list[str]] = {}
    trailing: list[str] = []
    enclosing = _Enclosing(hosts)
    for comment in comments:
        outer = enclosing.of(comment)
        owner = _ended_on_line(hosts, starts, comment, source) or _following(hosts, starts, comment, outer)
        owner = owner or outer
        if owner is None:
            trailing.append(comment.text)
        elif comment.doc and outer is None and id(owner) in top and isinstance(owner, Documented):
            docs.setdefault(id(owner), []).append(comment.text)
        else:
            owned.setdefault(id(owner), []).append(comment.text)
    for host in hosts:
        if id(host) in owned:
            attach(host, tuple(owned[id(host)]))
        if id(host) in docs:
            object.__setattr__(host, "doc", tuple(docs[id(host)]))
    return tuple(trailing)


class _Enclosing:
    """The innermost host around a comment. Comments come in order, so one sweep with a stack is enough."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.hosts = hosts
        self.next = 0
        self.stack: list[Host] = []

    def of(self, comment: Comment) -> Host | None:
        while self.next < len(self.hosts) and self.hosts[self.next].span.start < comment.start:
            host = self.hosts[self.next]
            self.next += 1
            while self.stack and self.stack[-1].span.end <= host.span.start:
                self.stack.pop()
            self.stack.append(host)
        while self.stack and self.stack[-1].span.end <= comment.start:
            self.stack.pop()
        return self.stack[-1] if self.stack else None


def _ended_on_line(hosts: Sequence[Host], starts: list[int], comment: Comment, source: Source) -> Host | None:
    if not comment.trailing:
        return None
    line_start = source.text.rfind("\n", 0, comment.start) + 1
    best: Host | None = None
    # A host that ends on this line may begin far above; only the statement and its literals can.
    for index in range(bisect_left(starts, comment.start) - 1, -1, -1):
        host = hosts[index]
        if line_start < host.span.end <= comment.start and (best is None or host.span.end >= best.span.end):
            best = host
        if isinstance(host, ast.Statement | ast.TestCase | Stamp):
            break
    return best


def _following(hosts: Sequence[Host], starts: list[int], comment: Comment, outer: Host | None) -> Host | None:
    index = bisect_left(starts, comment.end)
    if index == len(hosts) or (outer is not None and hosts[index].span.start >= outer.span.end):
        return None
    return hosts[index]

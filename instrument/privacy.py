"""What must not get into a run folder: secrets of a command line, the user's home, texts of exceptions."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HIDDEN = "…"
_HERE = os.path.dirname(os.path.abspath(__file__))
#: How names of secrets end: flags, settings, keys of a query, environment variables.
_ENDS = (
    r"(?:password|passwd|passphrase|passcode|secret|token|apikey|signature"
    r"|(?<![a-z0-9])(?:auth|authorization|pass|pwd|pat|sig|cookie|bearer|credentials?|creds"
    r"|(?:api|access|secret|private|account|auth|client|encryption|license|signing|ssh|wandb|hf)[-_.]?key)"
    r"(?:[-_.]?id)?)"
)
_NAME = re.compile(_ENDS + r"\Z", re.I)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: Parts of a longer text, and what is left of them.
_PARTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b([a-z][a-z0-9+.-]{1,20}://)[^/\s@\"']*@", re.I), rf"\1{HIDDEN}@"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.I), rf"\1 {HIDDEN}"),
    (re.compile(rf"({_ENDS}[\"']?\s*[:=]\s*[\"']?)(?!{HIDDEN})[^\s\"'&,;}}]+", re.I), rf"\1{HIDDEN}"),
    # as services make them: Hugging Face, OpenAI, GitHub, GitLab, Slack, AWS, Google, JSON web tokens
    (
        re.compile(r"\b(hf_|sk-|gh[opsu]_|github_pat_|glpat-|xox[abp]-|AKIA|ASIA|AIza|eyJ)[\w.-]{12,}"),
        HIDDEN,
    ),
)
#: Shorter values of secret environment variables ("1", "true") are no secrets.
_MIN_VALUE = 6


def redact(words: Iterable[object]) -> list[str]:
    """Return a command line without secrets and without the path of the user's home.

    >>> redact(["train.py", "--api-key", "abc", "--hf-token=x", "--max-tokens", "5"])
    ['train.py', '--api-key', '…', '--hf-token=…', '--max-tokens', '5']
    >>> redact(["db.password=abc", "--url", "https://me:abc@host/x?sig=abc&n=1"])
    ['db.password=…', '--url', 'https://…@host/x?sig=…&n=1']
    """
    clean: list[str] = []
    hide = False
    for word in map(_text, words):
        if hide and not word.startswith("--"):  # such a word would be the next flag
            clean.append(HIDDEN)
            hide = False
            continue
        name, equals, _ = word.partition("=")
        secret = re.fullmatch(r"[-+]*[\w.-]+", name) is not None and names_secret(name)
        clean.append(f"{name}={HIDDEN}" if secret and equals else scrub(word))
        hide = secret and not equals and word.startswith("-")
    return clean


def scrub(text: str) -> str:
    """Return a text without what looks like a secret in it; the user's home becomes `~`.

    >>> scrub("wandb: api_key=abc, rate=0.1")
    'wandb: api_key=…, rate=0.1'
    """
    for pattern, rest in _PARTS:
        text = pattern.sub(rest, text)
    for value in _secret_values():
        text = text.replace(value, HIDDEN)
    for home in _homes():
        text = re.sub(rf"(?<![\w.-]){re.escape(home)}(?=[/\\\s\"':,;]|\Z)", "~", text)
    return text


def shown_path(path: object) -> str:
    """Return how the path of a file, or an object that has one, is written down; "" for any other object."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        path = getattr(path, "name", "")
    return scrub(os.fsdecode(path)) if isinstance(path, (str, bytes, os.PathLike)) else ""


def encodable(text: str) -> str:
    """Return a text that can be encoded: a name of a file that is no UTF-8 has lone surrogates in Python."""
    return str.encode(text, "utf-8", "backslashreplace").decode()


def blame(fault: BaseException) -> str:
    """Return the type of a fault and the line of ours that it came from.

    Not its text: that may quote values, paths and whatever a user's object says, and asking for it runs user code.
    """
    place, trace = "", fault.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename.startswith(_HERE):
            place = f" at {os.path.basename(code.co_filename)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type.__getattribute__(type(fault), '__name__')}{place}"


def _text(word: object) -> str:
    """Return a word of a command line; what is no text, in a list that anybody may change, is told by its class."""
    return encodable(word) if isinstance(word, str) else type(word).__name__


def names_secret(name: str) -> bool:
    """Return whether a flag, a variable or a key is named like a secret."""
    return _NAME.search(_CAMEL.sub("-", name)) is not None


def _secret_values() -> Sequence[str]:
    """Values of environment variables that are named like secrets; a shell may have put them into a command."""
    found = [value for name, value in os.environ.items() if len(value) >= _MIN_VALUE and names_secret(name)]
    return sorted(found, key=len, reverse=True)


def _homes() -> Sequence[str]:
    home = os.path.expanduser("~").rstrip("/\\")
    found = {home, os.path.realpath(home)}
    try:
        import pwd

        found.add(pwd.getpwuid(os.getuid()).pw_dir.rstrip("/"))
    except (ImportError, KeyError):
        pass  # not a POSIX system; a user without an entry
    return sorted((path for path in found if len(path) > 1), key=len, reverse=True)


__all__ = ["HIDDEN", "blame", "encodable", "names_secret", "redact", "scrub", "shown_path"]

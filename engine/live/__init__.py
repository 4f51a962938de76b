"""Live checking: rules are checked step by step while a run goes on, with the verdicts that `check` would give."""

from tcrules.engine.live.session import Found, LiveSession

__all__ = ["Found", "LiveSession"]

"""The language server of `.tcr`: `occurrences`, `document`, `answers` are functions of texts; `server` speaks LSP."""

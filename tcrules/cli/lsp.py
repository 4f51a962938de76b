"""`tcrules lsp`: the language server for editors."""

from __future__ import annotations

import click

from tcrules.cli.faults import Refusal

EPILOG = """\b
Examples:
  tcrules lsp        # what an editor starts; it speaks LSP over stdin and stdout

\b
Neovim:
  vim.filetype.add({ extension = { tcr = 'tcr', ['tcr-test'] = 'tcr' } })
  vim.lsp.config('tcrules', { cmd = { 'tcrules', 'lsp' }, filetypes = { 'tcr' } })
  vim.lsp.enable('tcrules')
"""


@click.command(epilog=EPILOG)
def command() -> None:
    """Serve editors: faults, meanings of names, completion, definitions, renaming, layout."""
    try:
        from tcrules.lsp.server import main
    except ModuleNotFoundError as missing:
        raise Refusal(
            f"error: the language server needs {missing.name}", "pip install 'tcrules[lsp]'"
        ) from None
    main()

"""The command line: thin, quick to start, errors in one line."""

from recurra.cli.main import main

__all__ = ["main"]

"""The command line: one file a command group; it prints and decides nothing."""

from autoft.cli.app import main

__all__ = ["main"]

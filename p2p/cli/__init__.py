"""The command ``remora``: each command is a module, loaded when it is called."""

from p2p.cli.app import main

__all__ = ["main"]

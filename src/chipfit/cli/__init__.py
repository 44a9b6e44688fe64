"""The command line: words become a configuration, results become tables or one JSON document."""

from chipfit.cli.app import main

__all__ = ["main"]

"""The command line: outpaint, plan, inspect, convert, measure, evaluate, train, demo. Refusals are one line and exit code 2."""

import sys
from collections.abc import Sequence

from ..errors import CanvasError
from .parser import parse
from .request import read_request


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 2 refused, 130 interrupted."""
    args = parse(sys.argv[1:] if argv is None else argv)
    try:
        from . import commands  # heavy imports only once the arguments are sound

        getattr(commands, args.command)(read_request(args))
    except CanvasError as error:
        print(f"canvas-outpaint: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("canvas-outpaint: interrupted, nothing was written", file=sys.stderr)
        return 130
    return 0

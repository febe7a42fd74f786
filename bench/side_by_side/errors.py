"""The one error that ends a run with a message instead of a traceback, and the progress line."""

import sys


class BenchError(Exception):
    """What was asked, what is so and what to do, in one message for the person at the terminal."""


def say(message: str) -> None:
    print(f"side-by-side: {message}", file=sys.stderr, flush=True)

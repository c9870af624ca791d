"""Types of arguments that several commands have."""

import argparse


def positive(text: str) -> int:
    """Return a whole number of 1 or more.

    Raises:
        ArgumentTypeError: It is something else.
    """
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)

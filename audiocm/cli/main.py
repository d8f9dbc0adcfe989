"""The command line: `audiocm generate | speak | train | score | compare`. It only wires; a command's module is imported when asked for.

A command is (one line of help, function that adds its arguments, function that runs it). Bad input is a ValueError
anywhere below: one line on stderr, exit code 2.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from ..version import __version__
from .generate import EXAMPLES

Command = tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], None]]


class Parser(argparse.ArgumentParser):
    """argparse that says what is wrong in one line."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _generate() -> Command:
    from .generate import generate_arguments, generate_command

    return generate_arguments, generate_command


def _speak() -> Command:
    from .speak import speak_arguments, speak_command

    return speak_arguments, speak_command


def _train() -> Command:
    from .train import train_arguments, train_command

    return train_arguments, train_command


def _score() -> Command:
    from .score import score_arguments, score_command

    return score_arguments, score_command


def _compare() -> Command:
    from .score import compare_arguments, compare_command

    return compare_arguments, compare_command


COMMANDS: dict[str, tuple[str, Callable[[], Command]]] = {
    "generate": ("make sounds from words", _generate),
    "speak": ("speak a text", _speak),
    "train": ("train a recipe", _train),
    "score": ("score a folder of sounds", _score),
    "compare": ("compare two systems: folders, or results of score --json", _compare),
}


def _front(argv: Sequence[str]) -> None:
    """`audiocm`, `audiocm --help`, `audiocm --version` and unknown commands."""
    listing = "\n".join(f"  {name:10} {text}" for name, (text, _) in COMMANDS.items())
    parser = Parser(
        prog="audiocm", description="One-step text-to-audio and text-to-speech, and scores that can be trusted.",
        epilog=f"commands (audiocm COMMAND --help says more):\n{listing}\n\n{EXAMPLES.split(chr(10) * 2)[0]}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"audiocm {__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help=", ".join(COMMANDS))
    parser.parse_args(argv[:1])


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. 0: done; 2: bad input, told in one line on stderr (AUDIOCM_TRACEBACK=1: in full); 130: interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] not in COMMANDS:
        _front(argv)
    name = argv[0]
    try:
        arguments, run = COMMANDS[name][1]()
        parser = Parser(prog=f"audiocm {name}", description=COMMANDS[name][0].capitalize() + ".", allow_abbrev=False)
        arguments(parser)
        args, fields = parser.parse_known_args(argv[1:])
        if fields and not hasattr(args, "fields"):
            parser.error(f"unrecognized arguments: {' '.join(fields)}")
        args.fields = fields
        run(args)
    except KeyboardInterrupt:
        print("audiocm: interrupted", file=sys.stderr)
        return 130
    except (ValueError, ImportError, OSError, RuntimeError) as error:
        told = None if os.environ.get("AUDIOCM_TRACEBACK") else _told(error)
        if told is None:
            raise
        print(f"audiocm: {told}", file=sys.stderr)
        return 2
    return 0


def _told(error: Exception) -> str | None:
    """The one line for an error that a user can do something about; None for all others."""
    if not isinstance(error, ValueError):
        from ..models.text_encoder import explained

        error = explained(error)
    return " ".join(str(error).split()) if isinstance(error, ValueError | ImportError) else None

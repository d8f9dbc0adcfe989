"""The command line: `audiocm generate | speak | edit | serve | train | distill | export | score | compare`.

A command is a function that adds its options to a parser and one that runs it. Heavy packages are imported when it is
called, so that `--help` is instant and no command waits for the packages of another.
Any wrong input is a ValueError below this file: one line on stderr and exit code 2.
"""

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from ..errors import explain_import_error
from ..version import __version__
from . import edit, export, generate, serve, speak, train

LONGEST_LINE = 800  # letters of an error
COMMANDS = {
    "generate": "generate sounds from text prompts",
    "speak": "speak or sing a text",
    "edit": "fill in, continue, vary or widen a sound",
    "serve": "answer requests for speech and sounds over HTTP, as OpenAI's API does",
    "train": "train a network by a recipe",
    "distill": "distil a teacher to a student of one call",
    "score": "score a folder of sounds",
    "compare": "compare two systems: folders, or results of score --json",
    "export": "export a one-call student to ONNX or OpenVINO",
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Exits with code 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _load_command(name: str) -> tuple[Callable, Callable]:
    """Returns the functions {name}_arguments(parser) and {name}_command(args)."""
    modules = {"generate": generate, "speak": speak, "edit": edit, "serve": serve, "train": train, "export": export}
    module = modules.get(name)
    if module is None and name == "distill":  # its options and those of scores take a while to import
        from . import distill as module
    elif module is None:
        from . import score as module
    return getattr(module, f"{name}_arguments"), getattr(module, f"{name}_command")


def _parse_top_level(argv: Sequence[str]) -> None:
    """Handles `audiocm`, `audiocm --help`, `audiocm --version` and unknown commands; always exits."""
    examples, _, _ = generate.EXAMPLES.partition("\n\n")
    listing = "\n".join(f"  {name:10} {text}" for name, text in COMMANDS.items())
    parser = Parser(
        prog="audiocm",
        description="One-step text-to-audio and text-to-speech, and their evaluation.",
        epilog=f"commands (audiocm COMMAND --help says more):\n{listing}\n\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"audiocm {__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help=", ".join(COMMANDS))
    parser.parse_args(argv[:1])


class Terminated(KeyboardInterrupt):
    """The process received SIGTERM."""


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Makes SIGTERM raise Terminated within the block, so that it leaves as little behind as Ctrl-C."""

    def stop(*_: object) -> NoReturn:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0 done, 2 wrong input, 3 some sounds are missing, 130 interrupted,
    143 ended by SIGTERM.

    Errors are one line on stderr, or a traceback with the environment variable AUDIOCM_TRACEBACK=1."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for letters that the locale lacks
    if not argv or argv[0] not in COMMANDS:
        _parse_top_level(argv)
    name = argv[0]
    try:
        arguments, command = _load_command(name)
        parser = Parser(prog=f"audiocm {name}", description=COMMANDS[name].capitalize() + ".", allow_abbrev=False)
        arguments(parser)
        args, fields = parser.parse_known_args(argv[1:])
        if fields and not hasattr(args, "fields"):
            parser.error(f"unrecognized arguments: {' '.join(fields)}")
        args.fields = fields
        with _sigterm_interrupts():
            return command(args) or 0
    except Terminated:
        print("audiocm: terminated", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        print("audiocm: interrupted", file=sys.stderr)
        return 130
    except (ValueError, ArithmeticError, ImportError, OSError, RuntimeError) as error:
        explained = error if isinstance(error, ValueError | ArithmeticError) else explain_import_error(error)
        if os.environ.get("AUDIOCM_TRACEBACK") or not isinstance(explained, ValueError | ArithmeticError | ImportError):
            raise
        line = " ".join(str(explained).split())
        print(f"audiocm: {line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + ' ...'}", file=sys.stderr)
        return 2

"""`audiocm serve`: speech and sounds over HTTP, for clients of OpenAI's API and for a browser."""

from __future__ import annotations

import argparse
import os
import sys

from .loading import load_pipeline, quiet_libraries

EXAMPLES = """examples:
  audiocm serve
  audiocm serve --port 0 --sounds none
  AUDIOCM_TOKEN=secret audiocm serve --host 0.0.0.0 --device cuda
  curl localhost:8000/v1/audio/speech -H 'Content-Type: application/json' \\
    -d '{"model": "tts", "input": "Hello there.", "response_format": "wav"}' -o hello.wav

The page at / plays both. SIGTERM and Ctrl-C end the server; requests under way have two seconds."""


def serve_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `audiocm serve`."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1: this machine only)")
    add("--port", type=int, default=8000, help="port to listen on; 0: a free one, which is printed (default 8000)")
    token = (
        "what clients must send as `Authorization: Bearer TOKEN`; the environment variable AUDIOCM_TOKEN is the same"
    )
    add("--token", help=f"{token} and does not show in lists of processes")
    add("--speech", default="tts", metavar="MODEL", help="a name, a folder, a hub id, or none (default tts)")
    add("--sounds", default="tta", metavar="MODEL", help="a name, a folder, a hub id, or none (default tta)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default auto)")
    add("--batch", type=int, default=8, help="sounds of equal settings that are made at once, 1 to 64 (default 8)")
    add("--queue", type=int, default=64, help="requests at work or waiting; more are answered 429 (default 64)")
    add("--max-characters", type=int, default=4096, help="of a text or a prompt (default 4096)")


def serve_command(args: argparse.Namespace) -> int:
    """Runs `audiocm serve` until a signal ends it.

    Raises ValueError for wrong options and for an address that is in use, before a model is loaded, and ImportError if
    the extra `serve` is not installed."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        missing = error.name or str(error)
        raise ImportError(f'audiocm serve needs {missing}: pip install "audiocm[serve]"') from error
    from ..serving.guard import is_local
    from ..serving.server import open_socket

    for name, value, most in (("batch", args.batch, 64), ("queue", args.queue, 10_000)):
        if not 1 <= value <= most:
            raise ValueError(f"--{name} must lie between 1 and {most}, not {value}")
    if not 1 <= args.max_characters <= 1_000_000:
        raise ValueError(f"--max-characters must lie between 1 and 1000000, not {args.max_characters}")
    if args.speech == args.sounds == "none":
        raise ValueError("--speech and --sounds are both none: there is nothing to serve")
    token = os.environ.get("AUDIOCM_TOKEN") if args.token is None else args.token
    if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token != ""):
        raise ValueError("the token must be printable ASCII without spaces at its ends, and not empty")
    with quiet_libraries(), open_socket(args.host, args.port) as listener:
        local = is_local(listener.getsockname()[0])
        if not local and token is None:
            print(
                f"audiocm: warning: everyone who reaches {args.host} may use this server: set AUDIOCM_TOKEN to a secret",
                file=sys.stderr,
            )
        _serve(args, listener, token, local_only=local and token is None)
    return 0


def _serve(args: argparse.Namespace, listener, token: str | None, local_only: bool) -> None:
    """Loads the models, makes a sound of each and answers requests."""
    from ..serving.app import build_app
    from ..serving.server import Server, serve
    from ..serving.service import Limits, Service

    models = {}
    for option, kind in (("speech", "TextToSpeechPipeline"), ("sounds", "TextToAudioPipeline")):
        name = getattr(args, option)
        if name != "none":
            label = os.path.basename(os.path.normpath(name)) if os.path.isdir(name) else name
            models[option] = label, load_pipeline(name, args.device, kind)
    service = Service(**models, limits=Limits(args.queue, args.batch, args.max_characters))
    service.warm_up()

    def say_ready() -> None:
        host, port = listener.getsockname()[:2]
        host = f"[{host}]" if ":" in host else host
        served = ", ".join(f"{option}: {name}" for option, (name, _) in models.items())
        print(f"audiocm: listening on http://{host}:{port} ({served}); Ctrl-C ends it", flush=True)

    serve(Server(build_app(service, token, local_only), service.worker, say_ready), listener)

"""`audiocm export`: a one-call student to files that run without torch."""

from __future__ import annotations

import argparse

from .loading import quiet_libraries

EXAMPLES = """examples:
  audiocm export tta -o tta-int8
  audiocm export tts -o tts-int8 --one-graph
  audiocm export runs/student/model -o student-fp32 --precision fp32
  audiocm export tta -o tta-openvino --format openvino
  audiocm generate "a dog barks" -o dog.wav --model tta-int8

The folder holds the graphs, audiocm.json (settings, sizes and digests), README.md (a card with the parity that was measured)
and example.py (numpy and onnxruntime). audiocm takes it as a --model, audiocm.runtime in Python, without torch."""


def export_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `audiocm export`."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    add = parser.add_argument
    add("model", metavar="MODEL", help="tta, tts, a folder or a hub id of a one-call student")
    add("-o", "--output", required=True, metavar="FOLDER", help="the folder to write")
    add("--format", choices=("onnx", "openvino"), default="onnx", help="of the graphs (default onnx)")
    add("--precision", choices=("fp32", "fp16", "int8"), default="int8", help="of weights and products (default int8)")
    add("--one-graph", action="store_true", help="also write model.onnx: everything, Griffin-Lim too, in one graph")
    add("--force", action="store_true", help="replace a folder that an export has written")


def export_command(args: argparse.Namespace) -> int:
    """Runs `audiocm export` and returns its exit code. Raises ValueError for wrong input, ImportError for a missing
    package."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{error.name} is not installed: run `pip install 'audiocm[onnx]'`") from error
    with quiet_libraries():
        from ..export.exporting import export_model

        options = (args.format, args.precision, args.one_graph, args.force)
        parity = export_model(args.model, args.output, *options, report=lambda line: print(line, flush=True))
    lowest = min(value for values in parity.values() for value in values)
    print(
        f"{args.output}: {args.model} for {args.format} in {args.precision}, {lowest:.0f} dB or more to torch a graph"
    )
    return 0

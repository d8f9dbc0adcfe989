"""Writes the graphs of bundled students, without weights, by which the command line runs them without torch.

    python -m recipes.bundled_graphs

Runs on a CPU in 70 seconds a model and needs the extra `onnx`. To be run again after a student, its settings or the codec
have changed, and for all students at once, which share the codec's graphs.
"""

import argparse

from audiocm.export.weightless import export_weightless


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "models", nargs="*", default=["tta", "tts"], metavar="MODEL", help="students, default tta and tts"
    )
    for model in parser.parse_args().models:
        print(export_weightless(model))


if __name__ == "__main__":
    main()

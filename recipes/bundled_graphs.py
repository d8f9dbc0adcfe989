"""Writes the graphs of bundled students, without weights, by which the command line runs them without torch.

    python -m recipes.bundled_graphs tta tts

Runs on a CPU in 70 seconds a model and needs the extra `onnx`. To be run again after a student or the codec has changed.
"""

import argparse

from audiocm.export.weightless import export_weightless


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a bundled model, or the folder of a student")
    for model in parser.parse_args().models:
        print(export_weightless(model))


if __name__ == "__main__":
    main()

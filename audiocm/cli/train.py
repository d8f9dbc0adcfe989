"""`audiocm train`: a recipe to a trained network."""

import argparse

EXAMPLES = """examples:
  audiocm train recipes/tiny.py --steps 500
  audiocm train recipes/text_to_audio/teacher.py --corpora my/sounds --minutes 5 -o runs/my_sounds

--field value sets an argument of the recipe's run(); a wrong name lists those that it takes."""


def train_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `audiocm train`; all others are fields of the recipe."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    parser.usage = "%(prog)s RECIPE [--field value ...] [-o DIR]"
    parser.add_argument("recipe", metavar="RECIPE", help="a Python file with `def run(**fields) -> Run`")
    folder = "folder of checkpoints, log and model (default runs/NAME); a second call with it continues the first"
    parser.add_argument("-o", "--output", metavar="DIR", help=folder)
    parser.set_defaults(fields=[])


def train_command(args: argparse.Namespace) -> None:
    """Runs `audiocm train`."""
    from ..checks import check_path
    from ..training.recipe import train_recipe

    if args.output is not None:
        check_path("--output", args.output)
    train_recipe(args.recipe, args.fields, args.output)

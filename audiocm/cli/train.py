"""`audiocm train`: a recipe file to a trained net."""

from __future__ import annotations

import argparse


def train_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `audiocm train`; all others are fields of the recipe."""
    parser.usage = "%(prog)s RECIPE [--field value ...] [-o DIR]"
    parser.epilog = "--field value: an argument of the recipe's run(); a wrong one lists those that it takes."
    parser.add_argument("recipe", metavar="RECIPE", help="a file with `def run(**fields) -> Run`, as recipes/tiny.py")
    parser.add_argument("-o", "--output", metavar="DIR", help="checkpoints, log, samples (default runs/NAME); resumes")
    parser.set_defaults(fields=[])


def train_command(args: argparse.Namespace) -> None:
    """Run a recipe through audiocm.train."""
    from ..training.recipe import train_recipe

    train_recipe(args.recipe, args.fields, args.output)

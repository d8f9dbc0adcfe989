"""Sounds that failed with every seed tried, made by torch or by exported graphs: what is known and said of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from .checks import check_choice, check_whole


@dataclass(frozen=True)
class Failure:
    """A sound that failed with every seed tried; silence of its length stands in its place."""

    item: int  # its place in `audios`
    prompt: str  # or the sentence of a text
    reason: str  # "is silent", "is clipped" or "has numbers that are not finite"
    seeds: tuple[int, ...]  # in the order of the tries


def check_retries(max_retries: int, on_failure: str) -> None:
    """Raises ValueError if the options of failures are not allowed."""
    check_whole("max_retries", max_retries, least=0)
    check_choice("on_failure", on_failure, ("raise", "return"))


def describe_failures(failures: Sequence[Failure]) -> str:
    """Returns the prompts of failures, each with its reason, and how many seeds were tried, in one line."""
    names = "; ".join(f"the sound made for {one.prompt!r} {one.reason}" for one in failures)
    return f"{names} (seeds tried: {max(len(one.seeds) for one in failures)})"

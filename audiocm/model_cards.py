"""Measured scores in the model card of a folder: blocks between marks, each of one measurement, in its README.md."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from .checks import check_path
from .files import read_text

CARD = "README.md"
HEADING = "## Scores"
END = "<!-- end of audiocm score -->"
_BLOCK = re.compile(rf"<!-- audiocm score (\S+) -->\n(.*?)\n{END}\n*", re.DOTALL)
_FRONT = re.compile(r"---\n(.*?\n)---\n", re.DOTALL)  # metadata in YAML
_TAG = re.compile(
    r"^tags:.*\baudiocm\b|^\s*-\s*[\"']?audiocm[\"']?\s*$", re.MULTILINE
)  # a list in one line, or in several


def read_model_card(folder: str | os.PathLike) -> str:
    """Returns the model card of a folder that audiocm wrote, which the tag audiocm in its metadata tells.

    Raises ValueError if there is no such folder or no card in it, if the card is another's or cannot be read, or if it
    is a link, as in the cache of the hub, whose files other folders share."""
    path = Path(check_path("folder", folder))
    file = path / CARD
    if not path.is_dir():
        raise ValueError(f"{path}: no such folder")
    if not file.is_file():
        inner = path / "model"  # of the folder of a run
        hint = f": name {inner}" if (inner / CARD).is_file() else ""
        raise ValueError(f"{path} holds no model card ({CARD}){hint}")
    if file.is_symlink():
        raise ValueError(
            f"{file} is a link, as in the cache of the hub: copy the folder, or download it to its own place"
        )
    text = read_text(file, "model card")
    front = _FRONT.match(text)
    if not (front and _TAG.search(front[1])):
        raise ValueError(f"{file} is no model card of audiocm: the tags of its metadata do not hold audiocm")
    return text


def score_blocks(card: str) -> list[tuple[str, str]]:
    """Returns the (key, content) of each measurement in a card. Raises ValueError if a mark lacks its other one."""
    found = _BLOCK.findall(card)
    if not card.count("<!-- audiocm score ") == card.count(END) == len(found):
        raise ValueError(f"the scores in {CARD} lack one of their marks (<!-- audiocm score ... --> and {END})")
    return found


def replace_score_blocks(card: str, blocks: Sequence[tuple[str, str]]) -> str:
    """Returns a card with these measurements, each a (key, content), in the place of its own.

    A card without any gets them below its heading "## Scores", or at its end, with that heading. All else stays."""
    first, heading = _BLOCK.search(card), re.search(rf"^{HEADING}$", card, re.MULTILINE)
    if first:
        place = first.start()
    elif heading:
        place = heading.end()
    else:
        card = f"{card.rstrip()}\n\n{HEADING}\n"
        place = len(card)
    before, after = card[:place].rstrip(), _BLOCK.sub("", card[place:]).strip()
    parts = [f"<!-- audiocm score {key} -->\n{content}\n{END}" for key, content in blocks]
    return "\n\n".join([before, *parts, *([after] if after else [])]) + "\n"

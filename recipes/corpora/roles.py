"""What a clip is for training: an event, which ends by itself, or a texture, of which any part sounds like the whole."""

from collections.abc import Sequence
from pathlib import Path

TEXTURES = frozenset(Path(__file__).with_name("textures.txt").read_text(encoding="utf-8").splitlines())
SHORTEST_TEXTURE = 1.2  # seconds
GENERIC = frozenset(("Sound effect", "Animal", "Music", "Noise", "Vehicle", "Outside, rural or natural"))


def role_of(labels: Sequence[str], seconds: float) -> str:
    """Returns "texture" if one of the two first AudioSet labels of a sound effect is that of one, else "event"."""
    return "texture" if seconds >= SHORTEST_TEXTURE and not TEXTURES.isdisjoint(labels[:2]) else "event"


def thing_of(labels: Sequence[str], captions: Sequence[str]) -> str:
    """Returns what makes the sound, so that things can have equal weights: the first specific label, else a caption."""
    return next((label for label in labels[:2] if label not in GENERIC), captions[0] if captions else "")

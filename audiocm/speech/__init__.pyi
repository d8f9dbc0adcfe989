from . import (
    alignment as alignment,
    encoder as encoder,
    losses as losses,
    phonemes as phonemes,
    singing as singing,
    warping as warping,
)
from .encoder import SpeechEncoder as SpeechEncoder

from . import alignment as alignment, encoder as encoder, losses as losses, phonemes as phonemes, singing as singing
from .encoder import SpeechEncoder as SpeechEncoder

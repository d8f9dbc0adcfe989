from . import alignment as alignment
from . import encoder as encoder
from . import losses as losses
from . import phonemes as phonemes
from . import singing as singing
from .encoder import SpeechEncoder as SpeechEncoder

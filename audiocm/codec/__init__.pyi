from . import losses as losses
from .codec import Codec as Codec
from .vae import MelVAE as MelVAE
from .vocoder import Vocoder as Vocoder

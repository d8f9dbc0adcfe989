"""The vocoder as a model of diffusers, see `vocoder_net`."""

from ..models.diffusers_model import DiffusersModel
from .vocoder_net import VocoderNet


class Vocoder(DiffusersModel, VocoderNet):
    __doc__ = VocoderNet.__doc__

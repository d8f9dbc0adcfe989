"""The vocoder as a model of diffusers, see `vocoder_net`."""

from diffusers.models.modeling_utils import ModelMixin

from ..models.diffusers_model import DiffusersModel
from .vocoder_net import VocoderNet


class Vocoder(DiffusersModel, VocoderNet, ModelMixin):  # diffusers looks for ModelMixin in the module of a class
    __doc__ = VocoderNet.__doc__

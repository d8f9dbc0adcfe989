"""The speech encoder as a model of diffusers, see `encoder_net`."""

from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook

from ..models.diffusers_model import DiffusersModel
from .encoder_net import SpeechEncoderNet


class SpeechEncoder(
    DiffusersModel, SpeechEncoderNet, ModelMixin
):  # diffusers looks for ModelMixin in the module of a class
    __doc__ = SpeechEncoderNet.__doc__
    states = apply_forward_hook(SpeechEncoderNet.states)
    predict_durations = apply_forward_hook(SpeechEncoderNet.predict_durations)
    condition = apply_forward_hook(SpeechEncoderNet.condition)

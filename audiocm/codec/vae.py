"""The mel VAE as a model of diffusers, see `vae_net`."""

from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook

from ..models.diffusers_model import DiffusersModel
from .vae_net import MelVAENet


class MelVAE(DiffusersModel, MelVAENet, ModelMixin):  # diffusers looks for ModelMixin in the module of a class
    __doc__ = MelVAENet.__doc__
    encode = apply_forward_hook(MelVAENet.encode)
    decode = apply_forward_hook(MelVAENet.decode)

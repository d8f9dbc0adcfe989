"""The latent transformer as a model of diffusers, see `transformer_net`."""

from typing import ClassVar

from diffusers.models.modeling_utils import ModelMixin

from .diffusers_model import DiffusersModel
from .transformer_net import TransformerNet


class LatentTransformer(
    DiffusersModel, TransformerNet, ModelMixin
):  # diffusers looks for ModelMixin in the module of a class
    __doc__ = TransformerNet.__doc__
    _repeated_blocks: ClassVar[list[str]] = ["Block"]  # diffusers compiles one of them and reuses it for all

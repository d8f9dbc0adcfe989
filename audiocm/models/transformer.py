"""The latent transformer as a model of diffusers, see `transformer_net`."""

from typing import ClassVar

from .diffusers_model import DiffusersModel
from .transformer_net import TransformerNet


class LatentTransformer(DiffusersModel, TransformerNet):
    __doc__ = TransformerNet.__doc__
    _repeated_blocks: ClassVar[list[str]] = ["Block"]  # diffusers compiles one of them and reuses it for all

from . import (
    adapters as adapters,
    bert as bert,
    configured as configured,
    layers as layers,
    text_encoder as text_encoder,
    transformer as transformer,
    weights as weights,
)
from .text_encoder import TextConditioner as TextConditioner
from .transformer import LatentTransformer as LatentTransformer

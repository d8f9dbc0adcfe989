from . import (
    adapters as adapters,
)
from . import (
    layers as layers,
)
from . import (
    text_encoder as text_encoder,
)
from . import (
    transformer as transformer,
)
from . import (
    weights as weights,
)
from .adapters import DiffusersDenoiser as DiffusersDenoiser
from .text_encoder import TextConditioner as TextConditioner
from .transformer import LatentTransformer as LatentTransformer

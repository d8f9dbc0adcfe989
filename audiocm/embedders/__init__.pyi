from . import registry as registry
from .clap import ClapScorer as ClapScorer
from .protocol import CallableEmbedder as CallableEmbedder
from .protocol import Embedder as Embedder
from .registry import find_embedder as find_embedder

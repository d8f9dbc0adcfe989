"""The codec's table on held-out audio: what of a sound survives mel, VAE and vocoder.

    python -m recipes.codec.evaluate --codec audiocm/pretrained/codec --results samples/codec_scores.json

Rows: the clips themselves; true mel + Griffin-Lim; VAE's mel + Griffin-Lim; true mel + vocoder; the whole codec.
Sounds are judged by Fréchet distance under two embedders, tagger hits (labels of the manifest), STFT and mel
distances; speech by PESQ-WB and DNSMOS.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import torch
from tqdm import tqdm

from audiocm import metrics
from audiocm.audio import io
from audiocm.audio.io import decode
from audiocm.codec.codec import Codec
from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from audiocm.metrics import signal, speech
from recipes.judges import Judges, corpus_entries, distances, hit_items, spread_of_halves, write_results

SYSTEMS = ("real", "mel + Griffin-Lim", "VAE mel + Griffin-Lim", "mel + vocoder", "codec")


def griffin_lim(codec: Codec, log_mel: torch.Tensor, iterations: int = 32) -> np.ndarray:
    """librosa's Griffin-Lim on non-negative magnitudes with this mel [1, bin, frame]; wav [frame * hop]."""
    import librosa

    mel = codec.vocoder.mel
    magnitude = mel.magnitude(log_mel.float(), 20)[0].cpu().numpy()
    wav = librosa.griffinlim(
        magnitude, n_iter=iterations, hop_length=mel.hop, n_fft=mel.n_fft, center=False, random_state=0
    )
    edge = (mel.n_fft - mel.hop) // 2
    return wav[edge : edge + magnitude.shape[1] * mel.hop]


@torch.inference_mode()
def versions_of(codec: Codec, wav: np.ndarray) -> dict[str, np.ndarray]:
    """What each system makes of one clip [sample] at the codec's rate; all as long as the clip. The vocoder as `codec` uses it."""
    device = next(codec.vae.parameters()).device
    whole = torch.nn.functional.pad(torch.from_numpy(wav)[None], (0, -len(wav) % codec.samples_per_frame)).to(device)
    true = codec.vocoder.mel(whole)
    coded = codec.vae.decode(codec.vae.encode(true))
    made = {
        "real": wav,
        "mel + Griffin-Lim": griffin_lim(codec, true),
        "VAE mel + Griffin-Lim": griffin_lim(codec, coded),
        "mel + vocoder": codec.vocoder(true, codec.iterations)[0].cpu().numpy(),
        "codec": codec.vocoder(coded, codec.iterations)[0].cpu().numpy(),
    }
    return {name: np.clip(x[: len(wav)], -1, 1).astype(np.float32) for name, x in made.items()}


def held_out(corpus: list[Path], split: str, kinds: set[str], count: int, seed: int) -> list[dict]:
    """Up to `count` entries of a split, of these kinds, drawn by `seed`."""
    found = [e for e in corpus_entries(corpus) if e["split"] == split and e["kind"] in kinds]
    if not found:
        raise ValueError(
            f"{', '.join(map(str, corpus))}: no clips of kinds {', '.join(sorted(kinds))} in split {split}"
        )
    order = np.random.default_rng(seed).permutation(len(found))[:count]
    return [found[i] for i in sorted(order)]


def render(codec: Codec, entries: list[dict], out: Path) -> dict[str, list[Path]]:
    """Write every system's version of every clip (24 kHz FLAC); what is there already stays."""
    paths = {name: [out / name.replace(" ", "_") / f"{i:04d}.flac" for i in range(len(entries))] for name in SYSTEMS}
    for name in SYSTEMS:
        paths[name][0].parent.mkdir(parents=True, exist_ok=True)
    for i, entry in enumerate(tqdm(entries, desc="codec")):
        if all(paths[name][i].exists() for name in SYSTEMS):
            continue
        wav, rate = decode(Path(entry["file"]).read_bytes())
        wav = io.resample(wav if wav.ndim == 1 else wav.mean(axis=1), rate, codec.sample_rate)[: 10 * codec.sample_rate]
        for name, made in versions_of(codec, wav).items():
            soundfile.write(paths[name][i], made, codec.sample_rate)
    return paths


def sound_numbers(pair: tuple[Path, Path]) -> dict[str, float]:
    (x, rate), (y, _) = (soundfile.read(p, dtype="float32") for p in pair)
    return {
        "multi-resolution STFT": signal.multi_resolution_stft(x, y),
        "log-mel L1": signal.log_mel_l1(x, y, rate),
        "log-spectral distance dB": signal.log_spectral_distance(x, y),
    }


def speech_numbers(pair: tuple[Path, Path]) -> dict[str, float]:
    """A clip in which PESQ finds no speech has no number, and is counted by that."""
    torch.set_num_threads(1)
    (x, rate), (y, _) = (soundfile.read(p, dtype="float32") for p in pair)
    mos = speech.dnsmos(y, rate)
    found = {"DNSMOS overall speech": mos["overall"], "DNSMOS P.808 speech": mos["p808"]}
    try:
        return found | {"PESQ-WB speech": signal.pesq_wideband(x, y, rate)}
    except ValueError:
        return found


def means(items: list[dict[str, float]]) -> list[metrics.Score]:
    keys = sorted({key for item in items for key in item})
    return [metrics.mean_score(key, [item[key] for item in items if key in item]) for key in keys]


COLUMNS = [
    "top-5 hits", "kept of the real clips' hits", "FD yamnet pca* vs real", "FD aisfx pca* vs real",
    "multi-resolution STFT", "log-mel L1", "log-spectral distance dB", "PESQ-WB speech", "DNSMOS overall speech",
    "DNSMOS P.808 speech",
]  # fmt: skip


def kept(real: np.ndarray, hits: np.ndarray) -> metrics.Score:
    """Of the clips that the tagger gets right as they are: the share still right."""
    return metrics.mean_score("kept of the real clips' hits", hits[real > 0])


def score_sounds(judges: Judges, name: str, paths: dict, labels: list, real, real_hits) -> list[metrics.Score]:
    heard = real if name == "real" else judges.hear(paths[name])
    hits = hit_items(judges, heard, labels, 5)
    scores = [metrics.mean_score("top-5 hits", hits)]
    if name == "real":
        return scores + spread_of_halves(real, "real")
    with ProcessPoolExecutor(2) as pool:
        items = list(pool.map(sound_numbers, zip(paths["real"], paths[name], strict=True), chunksize=8))
    return [*scores, kept(real_hits, hits), *distances(heard, real, "real"), *means(items)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codec", default="audiocm/pretrained/codec", help="folder that holds vae/ and vocoder/")
    parser.add_argument("--corpus", type=lambda s: [Path(p) for p in s.split(",")], default=[Path("data/corpus")])
    parser.add_argument("--split", default="test")
    parser.add_argument("--kinds", type=lambda s: set(s.split(",")), default={"effect", "music", "instrument"})
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--speech", type=int, default=60)
    parser.add_argument("--out", default="runs/codec-table", type=Path)
    parser.add_argument("--results", default="samples/codec_scores.json", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    vae, vocoder = (kind.from_pretrained(Path(args.codec) / part).eval().to(args.device)
                    for kind, part in ((MelVAE, "vae"), (Vocoder, "vocoder")))  # fmt: skip
    codec = Codec(vae, vocoder)
    entries = held_out(args.corpus, args.split, args.kinds, args.clips, args.seed)
    paths = render(codec, entries, args.out / "sounds")
    judges, labels = Judges(), [e.get("labels", []) for e in entries]
    real = judges.hear(paths["real"])
    real_hits = hit_items(judges, real, labels, 5)
    rows = {}
    for name in SYSTEMS:
        scores = score_sounds(judges, name, paths, labels, real, real_hits)
        rows[name] = {"clips": len(entries), "left_out": {}, "scores": {s.name: s.as_dict() for s in scores}}
    add_speech(codec, args, rows)
    card = judges.card(args.seed, codec=Path(args.codec).name, split=args.split, reference={"real": real.total})
    print(write_results(args.results, {"card": card, "systems": rows}, COLUMNS))


def add_speech(codec: Codec, args: argparse.Namespace, rows: dict[str, dict]) -> None:
    """PESQ and DNSMOS of held-out speech, where the corpus has some."""
    try:
        entries = held_out(args.corpus, args.split, {"speech"}, args.speech, args.seed)
    except ValueError as error:
        print(f"no speech scores: {error}")
        return
    paths = render(Codec(codec.vae, codec.vocoder, 0), entries, args.out / "speech")  # as the speech pipeline does
    for name in SYSTEMS:
        with ProcessPoolExecutor(2) as pool:
            items = list(pool.map(speech_numbers, zip(paths["real"], paths[name], strict=True)))
        rows[name]["scores"] |= {s.name: s.as_dict() for s in means(items)}


if __name__ == "__main__":
    main()

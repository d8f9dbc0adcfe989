"""The metrics of `audiocm score`, by name. Each takes the context and gives numbers, per clip where it can."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from . import metrics
from .clips import decode
from .embedders import Embedder
from .folders import Context
from .metrics import Score, fidelity
from .metrics.draws import subsampled_score
from .metrics.fidelity import resampled
from .store import FeatureSet


@dataclass
class Found:
    """What one metric gives: numbers, and per-clip numbers by metric name for paired tests."""

    scores: list[Score]
    items: dict[str, dict[str, float]] = field(default_factory=dict)


def per_item(name: str, names: Sequence[str], values: np.ndarray, context: Context) -> Found:
    score = metrics.mean_score(name, values, seed=context.request.seed)
    return Found([score], {name: dict(zip(names, map(float, values), strict=True))})


def distance_name(kind: str, embedder: Embedder) -> str:
    """Only VGGish's Fréchet distance is FAD; under another embedder it carries that name."""
    return "FAD" if kind == "FD" and embedder.name == "vggish" else f"{kind} {embedder.name}"


def fad(context: Context) -> Found:
    scores = []
    for embedder in context.embedders:
        made, real = context.features("generated", embedder), context.features("reference", embedder)
        if min(made.count, real.count) <= made.dimension:
            warnings.warn(
                f"{min(made.count, real.count)} clips are fewer than the {made.dimension} dimensions of {embedder.name}: "
                "its Fréchet distance compares only between sets of equal size; KAD stays valid at any size",
                stacklevel=2,
            )
        scores.append(made.frechet(distance_name("FD", embedder), real, context.request.draws, context.request.seed))
    return Found(scores)


def _each(context: Context, compute: Callable[[Embedder, FeatureSet, FeatureSet], list[Score]]) -> Found:
    scores = []
    for embedder in context.embedders:
        scores += compute(embedder, *(context.features(role, embedder) for role in ("generated", "reference")))
    return Found(scores)


def fad_infinity(context: Context) -> Found:
    def compute(e: Embedder, made: FeatureSet, real: FeatureSet) -> list[Score]:
        x, y = made.features["embedding"], real.features["embedding"]
        return [metrics.frechet_infinity_score(f"FD-infinity {e.name}", x, y, seed=context.request.seed)]

    return _each(context, compute)


def kad(context: Context) -> Found:
    def compute(e: Embedder, made: FeatureSet, real: FeatureSet) -> list[Score]:
        x, y, r = made.features["embedding"], real.features["embedding"], context.request
        return [metrics.kernel_score(f"KAD {e.name}", x, y, made.draw(real), r.draws, r.seed)]

    return _each(context, compute)


def coverage(context: Context) -> Found:
    def compute(e: Embedder, made: FeatureSet, real: FeatureSet) -> list[Score]:
        x, y = made.features["embedding"], real.features["embedding"]
        names = ("density", "coverage", "precision", "recall")
        functions = (lambda a: metrics.density_coverage(a, y)[0], lambda a: metrics.density_coverage(a, y)[1],
                     lambda a: metrics.precision_recall(a, y)[0], lambda a: metrics.precision_recall(a, y)[1])  # fmt: skip
        return [
            subsampled_score(f"{name} {e.name}", function, x, seed=context.request.seed)
            for name, function in zip(names, functions, strict=True)
        ]

    return _each(context, compute)


def _distribution(found: FeatureSet) -> np.ndarray:
    if "distribution" in found.features:
        return found.features["distribution"]
    return found.features["probabilities"] / found.features["probabilities"].sum(axis=1, keepdims=True)


def kl(context: Context) -> Found:
    tagger = context.tagger
    for role in ("generated", "reference"):
        found = context.features(role, tagger)
        found.features["class shares"] = _distribution(found)
    names, p, q = context.paired_features(tagger, "class shares")
    return per_item(f"KL {tagger.name}", names, metrics.kl_divergences(p, q), context)


def inception(context: Context) -> Found:
    tagger = context.tagger
    shares = _distribution(context.features("generated", tagger))
    return Found([metrics.inception_score(shares, f"IS {tagger.name}", context.request.draws, context.request.seed)])


def diversity(context: Context) -> Found:
    """Over all clips, and between takes of one prompt where there are some (1 − cosine; centred where a reference is)."""
    scores = []
    for embedder in context.embedders:
        made = context.features("generated", embedder)
        x = made.features["embedding"]
        if "reference" in context.paths:
            x = x - context.features("reference", embedder).features["embedding"].mean(axis=0)
        scores.append(subsampled_score(f"diversity {embedder.name}", metrics.set_diversity, x))
        if not context.prompts:
            continue
        groups: dict[str, list[int]] = {}
        for i, line in enumerate(context.prompts_of(made.names)):
            groups.setdefault(line["prompt"], []).append(i)
        takes = [metrics.set_diversity(x[rows]) for rows in groups.values() if len(rows) > 1]
        if takes:
            scores.append(metrics.mean_score(f"diversity of takes {embedder.name}", takes))
    return Found(scores)


def clap(context: Context) -> Found:
    """CLAP_T with the prompts; CLAP_A (clip against the reference clip of its name) where names pair up."""
    judge, found = context.clap, Found([])
    made = context.features("generated", judge)
    if context.prompts:
        words = [line["prompt"] for line in context.prompts_of(made.names)]
        found = per_item(
            f"CLAP_T {judge.name}", made.names, judge.text_scores(made.features["embedding"], words), context
        )
        found.scores += metrics.retrieval(made.features["embedding"], judge.text(words))
    if "reference" in context.paths and {context.key("generated", p) for p in context.paths["generated"]} <= {
        context.key("reference", p) for p in context.paths["reference"]
    }:
        names, x, y = context.paired_features(judge, "embedding")
        paired = per_item(f"CLAP_A {judge.name}", names, metrics.cosines(x, y), context)
        found = Found(found.scores + paired.scores, found.items | paired.items)
    if not found.scores:
        raise ValueError("CLAP compares with words or with clips of the same names: name --prompts or a --reference")
    return found


def alignment(context: Context) -> Found:
    """The second, CLAP-free judge of words: a tagger's class names against the prompt (see alignment.py)."""
    from .alignment import SentenceEncoder, TagAlignment

    tagger = context.tagger
    made = context.features("generated", tagger)
    words = [line["prompt"] for line in context.prompts_of(made.names)]
    encoder = SentenceEncoder()
    context.judges.append(encoder)
    judge = TagAlignment(encoder, tagger.classes)
    return per_item(judge.name, made.names, judge(made.features["probabilities"], words), context)


def hits(context: Context) -> Found:
    """Tagger's top-5 hits; an unusable clip is a miss. Needs `labels` (AudioSet names) in the prompts file."""
    tagger = context.tagger
    made = context.features("generated", tagger)
    wanted = {name: line["labels"] for name, line in context.prompts.items() if line.get("labels")}
    if not wanted:
        raise ValueError("hits need --prompts with labels: a list of accepted AudioSet class names in each line")
    rows = {name: made.features["probabilities"][i] for i, name in enumerate(made.names)}
    values = [
        float(metrics.hits(rows[name][None], [tagger.class_numbers(labels)])[0]) if name in rows else 0.0
        for name, labels in wanted.items()
    ]
    return per_item(f"top-5 hits {tagger.name}", list(wanted), np.array(values), context)


def _by_file(name: str, function: Callable[[np.ndarray, np.ndarray, int], float]) -> Callable[[Context], Found]:
    def compute(context: Context) -> Found:
        names, values, failed = [], [], []
        for made, real in context.pairs():
            try:
                (x, rate), (y, other) = decode(real.read_bytes()), decode(made.read_bytes())
                x, y = (w if w.ndim == 1 else w.mean(axis=1) for w in (x, y))
                values.append(function(x, resampled(y, other, rate), rate))
                names.append(context.key("generated", made))
            except ValueError as error:
                failed.append(f"{made}: {error}")
        if len(failed) > context.request.left_out * (len(failed) + len(values)):
            raise ValueError(
                f"{name}: {len(failed)} of {len(failed) + len(values)} pairs cannot be scored (first: {failed[0]})"
            )
        return per_item(name, names, np.array(values), context)

    return compute


def _mos(context: Context) -> Found:
    rows = {}
    for path in context.paths["generated"]:
        wav, rate = decode(path.read_bytes())
        rows[context.key("generated", path)] = fidelity.dnsmos(wav if wav.ndim == 1 else wav.mean(axis=1), rate)
    parts = {f"DNSMOS {part}": {name: row[part] for name, row in rows.items()} for part in ("overall", "p808")}
    return _columns(parts, "", context)


def _columns(columns: dict[str, dict[str, float]], judge: str, context: Context) -> Found:
    """Several per-clip numbers as one Found, their names followed by the judge's."""
    found = Found([])
    for title, values in columns.items():
        one = per_item(f"{title} {judge}".strip(), list(values), np.array(list(values.values())), context)
        found = Found(found.scores + one.scores, found.items | one.items)
    return found


def words(context: Context) -> Found:
    """Word and character error rate of what a transcriber hears, against `text` (or the prompt) of each line."""
    from .speech_judges import Transcriber

    transcriber, found = Transcriber(), {}
    context.judges.append(transcriber)
    lines = dict(zip(names := [context.key("generated", p) for p in context.paths["generated"]],
                     context.prompts_of(names), strict=True))  # fmt: skip
    for path, name in zip(context.paths["generated"], names, strict=True):
        wav, rate = decode(path.read_bytes())
        heard = transcriber(resampled(wav if wav.ndim == 1 else wav.mean(axis=1), rate, transcriber.sample_rate))
        found[name] = fidelity.word_errors(lines[name].get("text") or lines[name]["prompt"], heard)
    return _columns({"WER": {n: e[0] for n, e in found.items()}, "CER": {n: e[1] for n, e in found.items()}},
                    transcriber.name, context)  # fmt: skip


def speaker(context: Context) -> Found:
    """Cosine of speaker vectors of each clip and the reference clip of its name."""
    from .speech_judges import SpeakerEmbedder

    judge = context.embedder(SpeakerEmbedder())
    names, x, y = context.paired_features(judge, "embedding")
    return per_item(f"speaker similarity {judge.name}", names, metrics.cosines(x, y), context)


METRICS: dict[str, Callable[[Context], Found]] = {
    "fad": fad, "fad-inf": fad_infinity, "kad": kad, "coverage": coverage, "kl": kl, "is": inception,
    "diversity": diversity, "clap": clap, "alignment": alignment, "hits": hits,
    "lsd": _by_file("log-spectral distance dB", lambda x, y, rate: fidelity.log_spectral_distance(x, y)),
    "stft": _by_file("multi-resolution STFT", lambda x, y, rate: fidelity.multi_resolution_stft(x, y)),
    "pesq": _by_file("PESQ-WB", fidelity.pesq_wideband), "stoi": _by_file("STOI", fidelity.stoi),
    "f0": _by_file("F0 RMSE cents", lambda x, y, rate: fidelity.pitch_errors(x, y, rate)["f0_rmse_cents"]),
    "dnsmos": _mos, "wer": words, "speaker": speaker,
}  # fmt: skip

"""The metrics of `audiocm score`, by name. Each takes the context and gives numbers, per clip where it can."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache

import numpy as np

from .. import metrics
from ..embedders.protocol import Embedder
from ..metrics import signal, speech
from ..metrics.frechet import weighted_distance
from ..metrics.kernel import Neighbours, kernel_statistic
from ..metrics.score import select, subsampled_score
from .features import FeatureSet
from .provenance import PackageJudge
from .result import MetricResult, SetStatistic, metric_columns, per_item
from .session import Evaluation
from .speech_metrics import contour, mos, prosody, speaker, words


def distance_name(kind: str, embedder: Embedder) -> str:
    """Only VGGish's Fréchet distance is FAD; under another embedder it carries that name."""
    return kind.replace("FD", "FAD") if embedder.name == "vggish" else f"{kind} {embedder.name}"


def _few(embedder: Embedder, made: FeatureSet, real: FeatureSet, what: str) -> None:
    if (fewest := min(made.running.count, real.running.count)) <= made.dimension:
        unit = "clips" if made.frames is None else "frames"
        told = f"{fewest} {unit} are too few for the {made.dimension} dimensions of {embedder.name}: {what}"
        warnings.warn(f"{told}; KAD stays valid at any size", stacklevel=3)


def _at_least(fewest: int, what: str, **counts: int) -> None:
    """Raises ValueError where a set (counts by role) has fewer clips than `what` needs."""
    for role, count in counts.items():
        if count < fewest:
            raise ValueError(f"{what} needs at least {fewest} clips, and {role} has {count} that can be used")


def _each(context: Evaluation, compute: Callable[[Embedder, FeatureSet, FeatureSet], MetricResult]) -> MetricResult:
    """`compute` of every embedder and both sets under it, together."""
    found = MetricResult([])
    for embedder in context.embedders:
        made, real = (context.features(role, embedder) for role in ("generated", "reference"))
        _at_least(2, "a distance of two sets", generated=made.count, reference=real.count)
        one = compute(embedder, made, real)
        found = MetricResult(found.scores + one.scores, sets=found.sets | one.sets)
    return found


def fad(context: Evaluation) -> MetricResult:
    def compute(e: Embedder, made: FeatureSet, real: FeatureSet) -> MetricResult:
        name, told = distance_name("FD", e), "its Fréchet distance compares only between sets of equal size"
        _few(e, made, real, told)
        score = made.frechet(name, real, context.request.draws, context.request.seed)
        distance, count = cache(lambda: weighted_distance(made.vectors, real.vectors)), len(made.names)
        of = lambda rows: distance()(np.bincount(rows, minlength=count))  # noqa: E731
        return MetricResult([score], sets={name: SetStatistic(made.names, of)})

    return _each(context, compute)


def fad_infinity(context: Evaluation) -> MetricResult:
    def compute(e: Embedder, made: FeatureSet, real: FeatureSet) -> MetricResult:
        name, x, y = distance_name("FD-infinity", e), made.vectors, real.vectors
        told = "FD-infinity's line through subsets bends there and what it extrapolates to is not valid"
        _few(e, made, real, told)
        return MetricResult(
            [metrics.frechet_infinity_score(name, x, y, seed=context.request.seed)],
            sets={name: SetStatistic(made.names, lambda rows: metrics.frechet_infinity(select(x, rows), y, steps=5))},
        )

    return _each(context, compute)


def kad(context: Evaluation) -> MetricResult:
    def compute(e: Embedder, made: FeatureSet, real: FeatureSet) -> MetricResult:
        name, x, y, r = f"KAD {e.name}", made.features["embedding"], real.features["embedding"], context.request
        score = metrics.kernel_score(name, x, y, made.draw(real), r.draws, r.seed)
        if score.high < 0:
            warnings.warn(
                f"{name} lies below 0: the clips are not independent of the reference clips (round trips of them?), "
                f"which lowers it by up to {200 / made.count:.2g}; it still ranks systems on the same clips",
                stacklevel=2,
            )
        of = cache(lambda: kernel_statistic(x, y))
        return MetricResult([score], sets={name: SetStatistic(made.names, lambda rows: of()(rows), halves=True)})

    return _each(context, compute)


def coverage(context: Evaluation) -> MetricResult:
    def compute(e: Embedder, made: FeatureSet, real: FeatureSet) -> MetricResult:
        x, y = made.features["embedding"], real.features["embedding"]
        _at_least(
            12, "coverage (halves, in each 5 neighbours of every clip)", generated=made.count, reference=real.count
        )
        near, rows, found = Neighbours(x, y), np.arange(len(x)), MetricResult([])
        for title in ("density", "coverage", "precision", "recall"):
            name, most, of = f"{title} {e.name}", np.inf if title == "density" else 1.0, getattr(near, title)
            found.scores.append(subsampled_score(name, of, rows, seed=context.request.seed, within=(0.0, most)))
            found.sets[name] = SetStatistic(made.names, of, halves=True)
        return found

    return _each(context, compute)


def _naming(tagger: Embedder) -> Embedder:
    if not hasattr(tagger, "classes"):
        raise ValueError(f"{tagger.name} does not name its classes: hits and alignment need --tagger yamnet or a CLAP")
    return tagger


def _distribution(found: FeatureSet) -> np.ndarray:
    if "distribution" in found.features:
        return found.features["distribution"]
    if "probabilities" not in found.features:
        raise ValueError("kl and is need an embedder with class probabilities: --tagger yamnet, panns:FILE or a CLAP")
    return found.features["probabilities"] / found.features["probabilities"].sum(axis=1, keepdims=True)


def kl(context: Evaluation) -> MetricResult:
    tagger = context.tagger
    for role in ("generated", "reference"):
        found = context.features(role, tagger)
        found.features["class shares"] = _distribution(found)
    names, p, q = context.paired_features(tagger, "class shares")
    return per_item(f"KL {tagger.name}", names, metrics.kl_divergences(p, q), context)


def inception_metric(context: Evaluation) -> MetricResult:
    tagger, name = context.tagger, f"IS {context.tagger.name}"
    made = context.features("generated", tagger)
    shares = _distribution(made)
    _at_least(2, "an inception score", generated=len(shares))
    if len(shares) < shares.shape[1]:
        told = f"{name}: {len(shares)} clips are fewer than the {shares.shape[1]} classes, which lowers it"
        warnings.warn(f"{told}: it compares only between sets of equal size", stacklevel=2)
    score = metrics.inception_score(shares, name, context.request.draws, context.request.seed)
    of = lambda rows: metrics.inception_score(shares[rows], draws=1).value  # noqa: E731
    return MetricResult([score], sets={name: SetStatistic(made.names, of)})


def diversity(context: Evaluation) -> MetricResult:
    """Over all clips, and between takes of one prompt where there are some (1 − cosine; centred where a reference is)."""
    found = MetricResult([])
    for embedder in context.embedders:
        made = context.features("generated", embedder)
        x = made.features["embedding"]
        _at_least(2, "diversity", generated=len(x))
        if "reference" in context.paths:
            x = x - context.features("reference", embedder).features["embedding"].mean(axis=0)
        name = f"diversity {embedder.name}"
        found.scores.append(subsampled_score(name, metrics.set_diversity, x, within=(0.0, 2.0)))
        found.sets[name] = SetStatistic(made.names, lambda rows, x=x: metrics.set_diversity(x[rows]), halves=True)
        if not context.prompts:
            continue
        groups: dict[str, list[int]] = {}
        for i, line in enumerate(context.prompts_of(made.names)):
            groups.setdefault(line["prompt"], []).append(i)
        takes = {prompt: metrics.set_diversity(x[rows]) for prompt, rows in groups.items() if len(rows) > 1}
        if takes:
            one = per_item(f"diversity of takes {embedder.name}", list(takes), np.array(list(takes.values())), context)
            found = MetricResult(found.scores + one.scores, found.items | one.items, found.sets)
    return found


def clap(context: Evaluation) -> MetricResult:
    """CLAP_T with the prompts; CLAP_A (clip against the reference clip of its name) where names pair up."""
    judge, found = context.clap, MetricResult([])
    made = context.features("generated", judge)
    if context.prompts:
        words = [line["prompt"] for line in context.prompts_of(made.names)]
        found = per_item(
            f"CLAP_T {judge.name}", made.names, judge.text_scores(made.features["embedding"], words), context
        )
        for name, values in metrics.retrieval_ranks(made.features["embedding"], judge.text(words)).items():
            one = per_item(f"{name} {judge.name}", made.names, values, context)
            found = MetricResult(found.scores + one.scores, found.items | one.items)
    if "reference" in context.paths and {context.key("generated", p) for p in context.paths["generated"]} <= {
        context.key("reference", p) for p in context.paths["reference"]
    }:
        names, x, y = context.paired_features(judge, "embedding")
        paired = per_item(f"CLAP_A {judge.name}", names, metrics.cosine_similarities(x, y), context)
        found = MetricResult(found.scores + paired.scores, found.items | paired.items)
    if not found.scores:
        raise ValueError("CLAP compares with words or with clips of the same names: name --prompts or a --reference")
    if not context.prompts:
        warnings.warn("CLAP_T and R@k are not scored: they need the words (--prompts)", stacklevel=2)
    return found


def alignment(context: Evaluation) -> MetricResult:
    """The second, CLAP-free judge of words: a tagger's class names against the prompt (see alignment.py)."""
    from ..embedders.tag_alignment import SentenceEncoder, TagAlignment

    tagger = _naming(context.tagger)
    made = context.features("generated", tagger)
    words = [line["prompt"] for line in context.prompts_of(made.names)]
    encoder = SentenceEncoder()
    context.judges.append(encoder)
    judge = TagAlignment(encoder, tagger.classes)
    return per_item(judge.name, made.names, judge(made.features["probabilities"], words), context)


def hits(context: Evaluation) -> MetricResult:
    """Tagger's top-5 hits; an unusable clip is a miss. Needs `labels` (AudioSet names) in the prompts file."""
    tagger = _naming(context.tagger)
    made = context.features("generated", tagger)
    wanted = {name: line["labels"] for name, line in context.prompts.items() if line.get("labels")}
    if not wanted:
        raise ValueError("hits need --prompts with labels: a list of accepted AudioSet class names in each line")
    rows = {name: made.features["probabilities"][i] for i, name in enumerate(made.names)}
    values = [
        float(metrics.top_k_hits(rows[name][None], [tagger.class_numbers(labels)])[0]) if name in rows else 0.0
        for name, labels in wanted.items()
    ]
    return per_item(f"top-5 hits {tagger.name}", list(wanted), np.array(values), context)


def _by_file(
    *names: str, function: Callable[[np.ndarray, np.ndarray, int], tuple[float, ...]], package: str | None = None
) -> Callable[[Evaluation], MetricResult]:
    """A metric of (reference wav, generated wav, rate) that gives one number for each of `names`, by a `package`."""

    def compute(context: Evaluation) -> MetricResult:
        rows, failed = {}, []
        if package is not None:
            signal.require_package(package)
            context.judges.append(PackageJudge(package))
        for clip, (made, real), rate in context.wavs("generated", "reference"):
            try:
                rows[clip] = function(real, made, rate)
            except ValueError as error:
                if isinstance(error.__cause__, ImportError):
                    raise
                failed.append(f"{clip}: {error}")
        if failed:
            told = f"{' and '.join(names)}: {len(failed)} of {len(failed) + len(rows)} pairs cannot be scored (first: {failed[0]})"
            if not rows or len(failed) > context.request.left_out * (len(failed) + len(rows)):
                raise ValueError(f"{told}; leave the metric out, or --left-out allows more")
            warnings.warn(told, stacklevel=2)
        return metric_columns(dict(zip(names, zip(*rows.values(), strict=True), strict=True)), list(rows), "", context)

    return compute


NEED_LENGTH = ("lsd", "stft", "pesq", "stoi", "f0")  # a pair of the same length
NEED_REFERENCE = {"fad", "fad-inf", "kad", "coverage", "kl", "lsd", "stft", "pesq", "stoi", "f0", "speaker"}
NEED_WORDS = {"alignment", "hits", "wer", "contour"}
METRICS: dict[str, Callable[[Evaluation], MetricResult]] = {
    "fad": fad, "fad-inf": fad_infinity, "kad": kad, "coverage": coverage, "kl": kl, "is": inception_metric,
    "diversity": diversity, "clap": clap, "alignment": alignment, "hits": hits,
    "lsd": _by_file("log-spectral distance dB", function=lambda x, y, rate: (signal.log_spectral_distance(x, y),)),
    "stft": _by_file("multi-resolution STFT", function=lambda x, y, rate: (signal.multi_resolution_stft(x, y),)),
    "pesq": _by_file("PESQ-WB", function=lambda *clip: (signal.pesq_wideband(*clip),), package="pesq"),
    "stoi": _by_file("STOI", function=lambda *clip: (signal.stoi(*clip),), package="pystoi"),
    "f0": _by_file("F0 RMSE cents", "voicing error", package="librosa",
                   function=lambda *clip: tuple(speech.pitch_errors(*clip).values())),
    "dnsmos": mos, "wer": words, "speaker": speaker, "prosody": prosody, "contour": contour,
}  # fmt: skip

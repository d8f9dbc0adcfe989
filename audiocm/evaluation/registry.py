"""The metrics of `audiocm score` by name. Each takes an `Evaluation` and returns a `MetricResult`."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .. import metrics
from ..embedders.protocol import Embedder, Tagger
from ..embedders.registry import JUDGES
from ..metrics import signal, speech
from . import distances, speech_metrics
from .distances import require_clips
from .features import FeatureSet
from .provenance import PackageJudge
from .result import MetricResult, per_clip_result, set_result
from .session import Evaluation


def clap(evaluation: Evaluation) -> MetricResult:
    """CLAP_T and R@k with the prompts, and CLAP_A of clips against the reference clips of the same names."""
    judge, seed, result = evaluation.clap, evaluation.request.seed, MetricResult()
    generated = evaluation.features("generated", judge)
    x = generated.features["embedding"]
    if evaluation.prompts:
        prompts = [evaluation.prompts[name]["prompt"] for name in generated.names]
        ranks = metrics.retrieval_ranks(x, judge.embed_text(prompts))
        columns = {"CLAP_T": judge.text_scores(x, prompts)} | ranks
        columns = {f"{title} {judge.name}": values for title, values in columns.items()}
        result += per_clip_result(columns, generated.names, seed)
    if evaluation.has_partners:
        names, rows, partners = evaluation.paired_rows(judge)
        y = evaluation.features("reference", judge).features["embedding"][partners]
        columns = {f"CLAP_A {judge.name}": metrics.cosine_similarities(x[rows], y)}
        result += per_clip_result(columns, names, seed) + MetricResult(paired=True)
    if not result.scores:
        raise ValueError("clap needs --prompts, or a --reference with files of the same names")
    if not evaluation.prompts:
        warnings.warn("CLAP_T and R@k are not scored: they need --prompts", stacklevel=2)
    return result


def _tagger_with_classes(evaluation: Evaluation) -> Tagger:
    if not isinstance(evaluation.tagger, Tagger):
        name = evaluation.tagger.name
        raise ValueError(f"{name} does not name its classes: hits and alignment need --tagger yamnet or a CLAP")
    return evaluation.tagger


def alignment(evaluation: Evaluation) -> MetricResult:
    """Similarity of a tagger's class names to the prompt (see `embedders.tag_alignment`), independent of any CLAP."""
    from ..embedders.tag_alignment import SentenceEncoder, TagAlignment

    tagger, encoder = _tagger_with_classes(evaluation), SentenceEncoder()
    generated, judge = evaluation.features("generated", tagger), TagAlignment(encoder, tagger.classes)
    prompts = [evaluation.prompts[name]["prompt"] for name in generated.names]
    columns = {judge.name: judge(generated.features["probabilities"], prompts)}
    return per_clip_result(columns, generated.names, evaluation.request.seed) + MetricResult(judges=[encoder])


def accepted_classes(evaluation: Evaluation) -> dict[str, list[int]]:
    """Returns the classes that the `labels` of each line name. Raises ValueError if there are none or unknown ones."""
    labels = {name: line["labels"] for name, line in evaluation.prompts.items() if line.get("labels")}
    if not labels:
        raise ValueError("hits need --prompts with labels: a list of accepted AudioSet class names in each line")
    tagger = _tagger_with_classes(evaluation)
    return {name: tagger.class_indices(one) for name, one in labels.items()}


def hits(evaluation: Evaluation) -> MetricResult:
    """Whether one of a prompt's `labels` (AudioSet names) is among the tagger's five most probable classes. An unusable
    clip is a miss; a prompt without labels does not count."""
    tagger = _tagger_with_classes(evaluation)
    accepted = accepted_classes(evaluation)
    generated = evaluation.features("generated", tagger)
    rows = [i for i, name in enumerate(generated.names) if name in accepted]
    names = [generated.names[i] for i in rows]
    values = metrics.top_k_hits(generated.features["probabilities"][rows], [accepted[name] for name in names])
    found = dict.fromkeys(accepted, 0.0) | dict(zip(names, values, strict=True))
    columns = {f"top-5 hits {tagger.name}": list(found.values())}
    return per_clip_result(columns, list(found), evaluation.request.seed)


def _class_distribution(clips: FeatureSet) -> np.ndarray:
    """Returns the class distribution [clip, class] of each clip, which sums to 1."""
    if "distribution" in clips.features:
        return clips.features["distribution"]
    if "probabilities" not in clips.features:
        raise ValueError("kl and is need an embedder with class probabilities: --tagger yamnet, panns:FILE or a CLAP")
    return clips.features["probabilities"] / clips.features["probabilities"].sum(axis=1, keepdims=True)


def kl(evaluation: Evaluation, reverse: bool = False) -> MetricResult:
    """KL(reference ‖ generated) of the class distributions of clips of the same names, as in audioldm_eval; `reverse`:
    KL(generated ‖ reference), as in stable-audio-metrics."""
    tagger = evaluation.tagger
    names, rows, partners = evaluation.paired_rows(tagger)
    p, q = (_class_distribution(evaluation.features(role, tagger)) for role in ("generated", "reference"))
    pair = (q[partners], p[rows]) if reverse else (p[rows], q[partners])
    columns = {f"{'reverse ' if reverse else ''}KL {tagger.name}": metrics.kl_divergences(*pair)}
    return per_clip_result(columns, names, evaluation.request.seed) + MetricResult(paired=True)


def inception(evaluation: Evaluation) -> MetricResult:
    """Inception score of the generated folder."""
    tagger, request = evaluation.tagger, evaluation.request
    generated, name = evaluation.features("generated", tagger), f"IS {tagger.name}"
    p = _class_distribution(generated)
    require_clips(2, "an inception score", generated=len(p))
    if len(p) < p.shape[1]:
        few = f"{name}: {len(p)} clips are fewer than the {p.shape[1]} classes, which lowers it"
        warnings.warn(f"{few}: it compares only between sets of equal size", stacklevel=2)
    score = metrics.inception_score(p, name, request.resamples, request.seed)
    return set_result(score, generated.names, lambda rows: metrics.inception_score(p[rows], draws=1).value)


def _score_pairs(names: tuple[str, ...], function: Callable, package: str | None, evaluation: Evaluation):
    """Applies `function` to every pair of files of the same name (see `_of_pairs`)."""
    if package is not None:
        signal.require_package(package)
    rows, failures = {}, []
    for clip, (generated, reference), rate in evaluation.wavs("generated", "reference"):
        try:
            found = function(reference, generated, rate)
            rows[clip] = list(found.values()) if isinstance(found, dict) else [found]
        except ValueError as error:
            if isinstance(error.__cause__, ImportError):
                raise
            failures.append(f"{clip}: {error}")
    if failures:
        total = len(failures) + len(rows)
        text = f"{' and '.join(names)}: {len(failures)} of {total} pairs cannot be scored (first: {failures[0]})"
        if not rows or len(failures) > evaluation.request.max_unusable * total:
            raise ValueError(f"{text}; leave the metric out, or --max-unusable allows more")
        warnings.warn(text, stacklevel=2)
    columns = dict(zip(names, zip(*rows.values(), strict=True), strict=True))
    judges = [] if package is None else [PackageJudge(package)]
    return per_clip_result(columns, list(rows), evaluation.request.seed) + MetricResult(judges=judges, paired=True)


NEEDS = {  # input of a request -> what to do where it is missing
    "reference": "compared with real sound: name a folder with --reference",
    "prompts": "compared with prompts: name a file with --prompts",
    "either": "compared with prompts or clips of the same names: name --prompts or a --reference",
}


@dataclass(frozen=True)
class Metric:
    """How a metric is computed and what it needs: a key of NEEDS, pairs of files of `same_lengths`, and a judge."""

    compute: Callable[[Evaluation], MetricResult]
    needs: str | None = None
    same_lengths: bool = False
    judge: str | None = None  # property of the `Evaluation` that it asks
    of_file: bool = False  # asks a judge of a weight file: `compute` takes its name "NAME:FILE" first
    of_moments: bool = False  # whether statistics of the reference suffice


def _of_pairs(*names: str, function: Callable, package: str | None = None) -> Metric:
    """Returns the metric of a function of (reference wav, generated wav, rate) that returns a number, or a dictionary
    of one for each of `names`, with the optional `package`. Pairs for which it raises ValueError are left out."""
    return Metric(partial(_score_pairs, names, function, package), "reference", same_lengths=True)


def _of_embedders(
    function: Callable[[Evaluation, Embedder], MetricResult], needs: str | None = "reference", of_moments: bool = False
) -> Metric:
    """Returns the metric that is the union of the results of `function` under all requested embedders."""

    def compute(run: Evaluation) -> MetricResult:
        return sum((function(run, embedder) for embedder in run.embedders), MetricResult())

    return Metric(compute, needs, judge="embedders", of_moments=of_moments)


METRICS: dict[str, Metric] = {
    "fad": _of_embedders(distances.frechet, of_moments=True),
    "fad-inf": _of_embedders(distances.frechet_infinity, of_moments=True),
    "fd-pca": _of_embedders(distances.frechet_in_components, of_moments=True),
    "fd-halves": _of_embedders(distances.frechet_of_halves, needs=None),
    "kad": _of_embedders(distances.kernel_distance),
    "coverage": _of_embedders(distances.coverage),
    "kl": Metric(kl, "reference", judge="tagger"),
    "kl-reverse": Metric(partial(kl, reverse=True), "reference", judge="tagger"),
    "is": Metric(inception, judge="tagger"),
    "diversity": _of_embedders(distances.diversity, needs=None),
    "clap": Metric(clap, "either", judge="clap"),
    "alignment": Metric(alignment, "prompts", judge="tagger"),
    "hits": Metric(hits, "prompts", judge="tagger"),
    "lsd": _of_pairs("log-spectral distance dB", function=lambda x, y, rate: signal.log_spectral_distance(x, y)),
    "stft": _of_pairs("multi-resolution STFT", function=lambda x, y, rate: signal.multi_resolution_stft(x, y)),
    "mel": _of_pairs("log-mel L1", function=signal.log_mel_l1),
    "pesq": _of_pairs("PESQ-WB", function=signal.pesq_wideband, package="pesq"),
    "stoi": _of_pairs("STOI", function=signal.stoi, package="pystoi"),
    "f0": _of_pairs("F0 RMSE cents", "voicing error", function=speech.pitch_errors, package="librosa"),
    "dnsmos": Metric(speech_metrics.mean_opinion_scores),
    "wer": Metric(speech_metrics.word_error_rates, "prompts"),
    "utmos": Metric(speech_metrics.ratings, of_file=True),
    "aesthetics": Metric(speech_metrics.ratings, of_file=True),
    "sim-o": Metric(speech_metrics.similarities_to_prompts, "reference", of_file=True),
    "speaker": Metric(speech_metrics.speaker_similarities, "reference"),
    "prosody": Metric(speech_metrics.prosody),
    "contour": Metric(speech_metrics.pitch_contour, "prompts"),
}


def find_metric(name: str) -> Metric:
    """Returns the metric "NAME", or "NAME:FILE" with its judge. Raises ValueError if there is none, or if its weight file
    is missing or out of place."""
    kind, _, file = name.partition(":")
    if kind not in METRICS:
        known = (f"{key}:FILE" if metric.of_file else key for key, metric in METRICS.items())
        raise ValueError(f"unknown metrics {name}; known: {', '.join(known)}")
    metric = METRICS[kind]
    if metric.of_file and not file:
        raise ValueError(f"the metric {kind} needs its weight file, {JUDGES[kind].source}: {kind}:FILE")
    if file and not metric.of_file:
        raise ValueError(f"the metric {kind} takes no file: {kind}, not {name}")
    return replace(metric, compute=partial(metric.compute, name)) if metric.of_file else metric

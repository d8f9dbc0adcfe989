"""Metrics of sets of embeddings: distances between the generated and the reference folder, coverage and diversity."""

import warnings
from functools import partial

import numpy as np

from .. import metrics
from ..embedders.protocol import Embedder
from ..metrics import Projection, Score
from ..metrics.frechet import weighted_distance
from ..metrics.kernel import Neighbours, kernel_statistic
from ..metrics.score import select, subsampled_score
from .features import CAP, FeatureSet
from .result import MetricResult, lazy_statistic, per_clip_result, set_result, statistic_of_weights
from .session import Evaluation


def distance_name(kind: str, embedder: Embedder) -> str:
    """Returns the name of a Fréchet distance: FAD only for VGGish, else FD with the embedder's name."""
    return kind.replace("FD", "FAD") if embedder.name == "vggish" else f"{kind} {embedder.name}"


def require_clips(fewest: int, metric: str, **counts: int) -> None:
    """Raises ValueError if a set (usable clips by role) has fewer clips than a metric needs."""
    for role, count in counts.items():
        if count < fewest:
            raise ValueError(f"{metric} needs at least {fewest} clips, and {role} has {count} that can be used")


def _warn_of_few_clips(embedder: Embedder, generated: FeatureSet, reference: FeatureSet, consequence: str) -> None:
    dimensions = generated.features["embedding"].shape[1]
    if (fewest := min(generated.moments.count, reference.moments.count)) <= dimensions:
        unit = "clips" if generated.frames is None else "frames"
        few = f"{fewest} {unit} are too few for the {dimensions} dimensions of {embedder.name}"
        warnings.warn(f"{few}: {consequence}; KAD stays valid at any size", stacklevel=3)


def _both_sets(evaluation: Evaluation, embedder: Embedder, fewest: int = 2, metric: str = "a distance of two sets"):
    generated, reference = evaluation.feature_sets(embedder)
    require_clips(fewest, metric, generated=generated.count, reference=reference.count)
    return generated, reference


def _frechet_result(name: str, generated: FeatureSet, reference: FeatureSet, evaluation: Evaluation) -> MetricResult:
    x, y = generated.vectors, reference.vectors
    score = generated.frechet(name, reference, evaluation.request.resamples, evaluation.request.seed)
    statistic = lazy_statistic(lambda: statistic_of_weights(weighted_distance(x, y), len(x)))
    return set_result(score, generated.names, statistic)


def frechet(evaluation: Evaluation, embedder: Embedder) -> MetricResult:
    """Fréchet distance between the generated and the reference folder."""
    generated, reference = _both_sets(evaluation, embedder)
    name, consequence = distance_name("FD", embedder), "its Fréchet distance compares only between sets of equal size"
    _warn_of_few_clips(embedder, generated, reference, consequence)
    return _frechet_result(name, generated, reference, evaluation) + _outliers(name, generated, reference)


def _outliers(name: str, generated: FeatureSet, reference: FeatureSet) -> MetricResult:
    """Returns each generated file's share of the Fréchet distance, the largest first."""
    if not (generated.is_complete and reference.is_complete):
        warnings.warn(f"the files' shares of {name} are not given for sets of more than {CAP} clips", stacklevel=2)
        return MetricResult()
    shares = metrics.frechet_contributions(generated.vectors, reference.vectors)
    files = [{"file": str(generated.paths[i]), "share": float(shares[i]), "of": name} for i in shares.argsort()[::-1]]
    return MetricResult(outliers=files)


def _principal_components(clips: FeatureSet, components: int, role: str) -> Projection:
    """Fits the first `components` of a set, or fewer if half of its clips would not determine them."""
    require_clips(4, "a distance in principal components", **{role: clips.count})
    if clips.given is not None:
        return Projection.of_moments(clips.given, min(components, len(clips.given.mean), clips.count // 2 - 1))
    vectors = clips.vectors if clips.frames is None else np.concatenate(clips.frames)
    return Projection.fit(vectors, min(components, vectors.shape[1], len(clips.paths) // 2 - 1))


def frechet_in_components(evaluation: Evaluation, embedder: Embedder) -> MetricResult:
    """Fréchet distance in the first principal components of the reference, for which fewer clips suffice."""
    reference = evaluation.features("reference", embedder)
    projection = _principal_components(reference, evaluation.request.components, "reference")
    generated, reference = (one.project(projection) for one in _both_sets(evaluation, embedder))
    return _frechet_result(f"{distance_name('FD', embedder)} {projection.name}", generated, reference, evaluation)


def frechet_of_halves(evaluation: Evaluation, embedder: Embedder) -> MetricResult:
    """Fréchet distance between random halves of the generated folder in its principal components: what the metric reads
    for two sets of one distribution. Mean and range of ten halvings; biased upwards, as a half has half the clips."""
    clips = evaluation.features("generated", embedder)
    projection = _principal_components(clips, evaluation.request.components, "generated")
    vectors, half = clips.project(projection).vectors, len(clips.paths) // 2
    generator, values = np.random.default_rng(evaluation.request.seed), []
    for _ in range(10):
        order = generator.permutation(len(vectors))
        values.append(metrics.frechet_distance(select(vectors, order[:half]), select(vectors, order[half:])))
    low, high = np.quantile(values, [0.025, 0.975])
    name = f"{distance_name('FD-halves', embedder)} {projection.name}"
    return MetricResult([Score(name, float(np.mean(values)), float(low), float(high), half)])


def frechet_infinity(evaluation: Evaluation, embedder: Embedder) -> MetricResult:
    """Fréchet distance extrapolated to infinitely many clips."""
    generated, reference = _both_sets(evaluation, embedder)
    consequence = "the line of FD-infinity through subsets bends there and its extrapolation is not valid"
    _warn_of_few_clips(embedder, generated, reference, consequence)
    name, x, y = distance_name("FD-infinity", embedder), generated.vectors, reference.vectors
    score = metrics.frechet_infinity_score(name, x, y, seed=evaluation.request.seed)
    return set_result(score, generated.names, lambda rows: metrics.frechet_infinity(select(x, rows), y, steps=5))


def kernel_distance(evaluation: Evaluation, embedder: Embedder) -> MetricResult:
    """KAD between the generated and the reference folder."""
    generated, reference = _both_sets(evaluation, embedder)
    name, resamples, seed = f"KAD {embedder.name}", evaluation.request.resamples, evaluation.request.seed
    x, y = generated.features["embedding"], reference.features["embedding"]
    score = metrics.kernel_score(name, x, y, generated.resampling(reference), resamples, seed)
    if score.high < 0:
        reason = "the clips are not independent of the reference clips (round trips of them?), which lowers it by up to"
        bias = f"{200 / generated.count:.2g}; it still ranks systems on the same clips"
        warnings.warn(f"{name} lies below 0: {reason} {bias}", stacklevel=2)
    statistic = lazy_statistic(partial(kernel_statistic, x, y))
    return set_result(score, generated.names, statistic, without_replacement=True)


def coverage(evaluation: Evaluation, embedder: Embedder) -> MetricResult:
    """Density, coverage, precision and recall."""
    metric = "coverage (of random halves, with 5 neighbours of every clip)"
    generated, reference = _both_sets(evaluation, embedder, 12, metric)
    neighbours = Neighbours(generated.features["embedding"], reference.features["embedding"])
    rows, seed, result = np.arange(len(generated.paths)), evaluation.request.seed, MetricResult()
    for title, limit in (("density", np.inf), ("coverage", 1.0), ("precision", 1.0), ("recall", 1.0)):
        statistic = getattr(neighbours, title)
        faster = neighbours.recall_within if title == "recall" else None
        score = subsampled_score(f"{title} {embedder.name}", statistic, rows, 100, seed, (0.0, limit), faster)
        result += set_result(score, generated.names, statistic, without_replacement=True)
    return result


def diversity(evaluation: Evaluation, embedder: Embedder) -> MetricResult:
    """Mean 1 − cosine over all generated clips, and over the clips of one prompt if a prompt has several. Embeddings
    are centred by the mean of the reference if there is one."""
    generated = evaluation.features("generated", embedder)
    x = generated.features["embedding"]
    require_clips(2, "diversity", generated=len(x))
    if evaluation.statistics is not None and generated.frames is None:
        x = x - evaluation.features("reference", embedder).given.mean
    elif "reference" in evaluation.paths:
        x = x - evaluation.features("reference", embedder).features["embedding"].mean(axis=0)
    score = subsampled_score(f"diversity {embedder.name}", metrics.set_diversity, x, within=(0.0, 2.0))
    result = set_result(score, generated.names, lambda rows: metrics.set_diversity(x[rows]), without_replacement=True)
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(generated.names if evaluation.prompts else []):
        groups.setdefault(evaluation.prompts[name]["prompt"], []).append(i)
    takes = {prompt: metrics.set_diversity(x[rows]) for prompt, rows in groups.items() if len(rows) > 1}
    if takes:
        columns = {f"diversity of takes {embedder.name}": list(takes.values())}
        result += per_clip_result(columns, list(takes), evaluation.request.seed)
    return result

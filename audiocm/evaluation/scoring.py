"""Scoring a folder of sounds and comparing two: what `audiocm score` and `audiocm compare` run."""

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import soundfile

from ..checks import check_instance, check_path, check_whole, checked
from ..devices import usual_defaults
from ..embedders.protocol import Embedder
from ..embedders.registry import load_tagger
from ..files import content_digest
from ..metrics import Score, paired_difference, set_difference
from ..metrics.signal import comparable_lengths
from .features import matching_rows
from .preprocessing import Preprocessing
from .provenance import DESCRIPTIVE, card, require_comparable
from .reference import ReferenceStatistics, content_of
from .registry import METRICS, NEEDS, accepted_classes, find_metric
from .result import Comparison, MetricResult, ScoreResult, SetStatistic
from .session import COMPONENTS, MAX_RESAMPLES, MAX_UNUSABLE, MIN_RESAMPLES, Evaluation, ScoreRequest
from .speech_metrics import requested_contours


def score(
    generated: str | Path,
    reference: str | Path | None = None,
    *,
    prompts: str | Path | None = None,
    metrics: str | Sequence[str] = ("fad", "kad"),
    embedders: str | Sequence[str | Embedder] = (),
    clap: str | Embedder | None = None,
    tagger: str | Embedder | None = None,
    tokenizer: str | None = None,
    preprocessing: Preprocessing | None = None,
    components: int = COMPONENTS,
    cache: Path | None = None,
    workers: int = 2,
    seed: int = 0,
    resamples: int = 200,
    max_unusable: float = MAX_UNUSABLE,
    device: str = "cpu",
    save_reference: str | Path | None = None,
    preset: dict | None = None,
) -> ScoreResult:
    """Scores a folder of sounds; the options are the fields of `ScoreRequest`. Raises ValueError as `evaluate` does."""
    options = (metrics, embedders, clap, tagger, tokenizer, preprocessing or Preprocessing(), components, cache)
    resampling = (workers, seed, resamples, max_unusable, device, save_reference, preset)
    return evaluate(ScoreRequest(generated, reference, prompts, *options, *resampling))


def evaluate(request: ScoreRequest) -> ScoreResult:
    """Computes the requested metrics. Raises ValueError naming what cannot be scored and why."""
    check_instance("request", request, ScoreRequest)
    return evaluate_systems(request, [request.generated])[str(request.generated)]


@usual_defaults()
def evaluate_systems(request: ScoreRequest, folders: Sequence[str | Path]) -> dict[str, ScoreResult]:
    """Scores several folders by one request, whose `generated` they replace, and returns the results by folder.

    The reference is embedded once. Raises ValueError as `evaluate`, before any clip is read if an input of any folder
    is wrong, and if a folder is named twice."""
    for folder in check_instance("folders", folders, list | tuple, "a list of folders"):
        check_path("folders", folder)
    if len({str(folder) for folder in folders}) < len(folders):
        raise ValueError("a folder is named twice")
    _check_inputs(request)
    evaluations = [Evaluation(replace(request, generated=Path(folder))) for folder in folders]
    for one in evaluations:
        _check_lengths(one)
    _check_judges(evaluations)
    results = {}
    for i, (folder, one) in enumerate(zip(folders, evaluations, strict=True)):
        if i:
            one.share(evaluations[i - 1])
        results[str(folder)] = _compute(one)
    return results


def _check_judges(evaluations: list[Evaluation]) -> None:
    """Loads the judges of the metrics. Raises ValueError, before any clip is read, if one is unknown or lacks what a
    metric asks of it, or if prompts name classes that it does not have."""
    first, request = evaluations[0], evaluations[0].request
    used = {find_metric(name).judge for name in request.metrics}
    for judge in sorted(used - {None}):
        getattr(first, judge)
    for name in (name for name in request.metrics if find_metric(name).of_file):
        first.embedder(name)
    if isinstance(request.tagger, str) and "tagger" not in used:
        load_tagger(request.tagger, request.device, request.tokenizer)
    if request.embedders and "embedders" not in used:
        _ = first.embedders  # raises ValueError for a name that is none
    if request.clap is not None and "clap" not in used:
        first.embedder(request.clap)  # raises ValueError for a name that is none
    for one in evaluations:
        one.share(first)
        if "hits" in request.metrics:
            accepted_classes(one)
        if "contour" in request.metrics:
            requested_contours(one)


def _compute(evaluation: Evaluation) -> ScoreResult:
    """Computes the metrics of one folder."""
    request, total = evaluation.request, MetricResult()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        for name in request.metrics:
            total += find_metric(name).compute(evaluation)
        if request.save_reference is not None:
            _save_reference(evaluation)
    notes = list(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, UserWarning)))
    notes += _describe_clips(evaluation)
    scores = {score.name: score for score in total.scores}
    reports, about = {role: report.as_dict() for role, report in evaluation.reports.items()}, _card(evaluation, total)
    return ScoreResult(about, scores, total.items, reports, notes, total.outliers, total.statistics)


def _save_reference(evaluation: Evaluation) -> None:
    """Writes the statistics of the reference or, without one, of the scored folder under all embedders."""
    role = "reference" if "reference" in evaluation.paths else "generated"
    sets = {embedder: evaluation.features(role, embedder) for embedder in evaluation.embedders}
    form = evaluation.request.preprocessing.as_dict()
    ReferenceStatistics.of(sets, evaluation.reports[role], form).save(evaluation.request.save_reference)


def _check_inputs(request: ScoreRequest) -> None:
    """Raises ValueError, before any clip is read, if a metric is unknown or lacks an input."""
    names = list(dict.fromkeys(request.metrics))
    metrics = {name: find_metric(name) for name in names}
    of_moments = request.reference is not None and request.reference.suffix == ".npz" and request.reference.is_file()
    clips = None if of_moments else request.reference
    given = {"reference": request.reference, "prompts": request.prompts, "either": clips or request.prompts}
    if of_moments and (lacking := [n for n in names if metrics[n].needs == "reference" and not metrics[n].of_moments]):
        able = ", ".join(name for name, metric in METRICS.items() if metric.of_moments)
        raise ValueError(f"{', '.join(lacking)}: statistics do not suffice (they do for {able}): name a folder")
    if of_moments and request.save_reference is not None:
        raise ValueError("--save-reference takes the statistics of a folder, and --reference is a file of them")
    for need, advice in NEEDS.items():
        lacking = [name for name in names if metrics[name].needs == need]
        if lacking and given[need] is None:
            raise ValueError(f"{', '.join(lacking)}: {advice}")


def _check_lengths(evaluation: Evaluation) -> None:
    """Raises ValueError, before any clip is decoded, if a metric needs pairs of one length and too many differ."""
    request = evaluation.request
    names = [name for name in request.metrics if find_metric(name).same_lengths]
    pairs, different = evaluation.pairs() if names else [], []
    for paths in pairs:
        try:
            made, real = (min(soundfile.info(path).duration, request.preprocessing.max_seconds) for path in paths)
        except soundfile.SoundFileError:  # counted as unusable when it is read
            continue
        if not comparable_lengths(real, made):
            different.append(f"{evaluation.clip_name('generated', paths[0])}: {made:.2f} s against {real:.2f} s")
    if len(different) > request.max_unusable * len(pairs):
        counts = f"{len(different)} of {len(pairs)} pairs differ in length by more than a tenth (first: {different[0]})"
        raise ValueError(f"{', '.join(names)}: {counts}; leave these metrics out, or --max-unusable allows more")


def _describe_clips(evaluation: Evaluation) -> list[str]:
    """Returns a sentence for every kind of clip that was left out, truncated, or of another format than the others."""
    reports, preprocessing = evaluation.reports, evaluation.request.preprocessing
    unusable, truncated, formats = [], [], []
    for role, report in reports.items():
        for reason, names in report.unusable.items():
            unusable.append(f"{role}: {len(names)} {reason} left out (first: {names[0]})")
        if report.truncated:
            limit = f"clips are longer than {preprocessing.max_seconds:g} s and were truncated"
            truncated.append(f"{role}: {report.truncated} {limit}")
        formats += [f"{role}: {text}" for text in report.describe_mixed_formats()]
    if evaluation.statistics is not None:
        formats.append("the reference is known by its statistics: no interval covers the choice of its clips")
    rates = {role: sorted(report.rates) for role, report in reports.items()}
    if len(rates) > 1 and rates["generated"] != rates["reference"]:
        formats.append(f"generated has rates {rates['generated']}, the reference {rates['reference']}")
    advice = " (all are resampled to the embedder's rate; --band-limit makes their bandwidths alike)"
    if preprocessing.band_limit is None:
        formats = [text + advice if "rates" in text else text for text in formats]
    return unusable + truncated + formats


def _card(evaluation: Evaluation, total: MetricResult) -> dict:
    """Returns the card; its keys are also those of the result file."""
    request, reports, reference = evaluation.request, evaluation.reports, None
    if "reference" in reports:  # its digest holds the names only if a metric paired files by them
        contents = reports["reference"].contents
        named = (f"{content} {evaluation.clip_name('reference', path)}" for path, content in contents.items())
        reference = content_digest(*sorted(named)) if total.paired else content_of(reports["reference"])
    clips = {role: report.used for role, report in reports.items()}
    left_out = {role: report.as_dict()["left_out"] for role, report in reports.items()}
    cut = {role: report.truncated for role, report in reports.items()}
    if (given := evaluation.statistics) is not None:
        reference, clips["reference"] = given.digest, given.clips
        left_out["reference"], cut["reference"] = given.left_out, given.truncated
    keys = ("prompt", "text", "labels", "f0")  # all that a metric reads of a line
    lines = sorted(json.dumps([line.get(key) for key in keys]) for line in evaluation.prompts.values())
    return card(
        [*evaluation.loaded_embedders.values(), *total.judges],
        request.preprocessing,
        request.seed,
        clips=clips,
        reference=reference,
        **({"reference_name": os.path.basename(os.path.abspath(request.reference))} if request.reference else {}),
        caption_policy="prompt of the file's line" if lines else None,
        prompts=content_digest("\n".join(lines)) if lines else None,
        draws=request.resamples,
        generated=str(request.generated),
        left_out=left_out,
        cut=cut,
        **({"preset": request.preset} if request.preset else {}),
    )


@checked(resamples=partial(check_whole, least=MIN_RESAMPLES, most=MAX_RESAMPLES))
def compare(first: ScoreRequest, second: ScoreRequest, resamples: int = 1000) -> Comparison:
    """Scores two folders alike and returns the differences first − second with intervals and p-values, paired by file
    name. `resamples`: bootstrap draws for means over clips; for statistics of whole sets, the request's count.

    Raises ValueError if the requests measure differently."""
    for name, request in (("first", first), ("second", second)):
        check_instance(name, request, ScoreRequest)
        Evaluation(request).files_by_name("generated")
    one, two = evaluate(first), evaluate(second)
    require_comparable(
        one.card, two.card, DESCRIPTIVE | {"clips", "left_out", "cut"}
    )  # two folders may differ in these
    return compare_results(one, two, resamples)


def load_results(files: Sequence[Path], ignore_cards: bool = False) -> list[ScoreResult]:
    """Reads result files. Raises ValueError naming every difference of their cards, unless `ignore_cards`."""
    results = [ScoreResult.load(file) for file in files]
    for other in () if ignore_cards else results[1:]:
        require_comparable(results[0].card, other.card)
    return results


def compare_files(first: Path, second: Path, ignore_cards: bool = False) -> Comparison:
    """Compares two result files. Raises ValueError naming every difference of their cards, unless `ignore_cards`."""
    one, two = load_results([first, second], ignore_cards)
    if not one.scores.keys() & two.scores.keys():
        raise ValueError(f"the two results share no score: {', '.join(one.scores)} against {', '.join(two.scores)}")
    return compare_results(one, two)


def compare_results(first: ScoreResult, second: ScoreResult, resamples: int = 2000) -> Comparison:
    """Returns the differences of all per-clip values of clips with the same names, and of all set statistics, which
    results from files do not have."""
    differences = {}
    for name in first.items.keys() & second.items.keys():
        x, y = first.items[name], second.items[name]
        shared = sorted(x.keys() & y.keys())
        if len(shared) > 1:
            differences[name] = paired_difference(name, [x[k] for k in shared], [y[k] for k in shared], resamples)
    for name in (name for name in first.statistics if name in second.statistics):
        statistics = first.statistics[name], second.statistics[name]
        differences[name] = _statistic_difference(name, *statistics, first.card["draws"], first.card["seed"])
    return Comparison(first, second, differences)


def _statistic_difference(name: str, first: SetStatistic, second: SetStatistic, resamples: int, seed: int) -> Score:
    """Returns the difference of a set statistic over the clips that both sets have, resampled alike in both."""
    rows, partners = matching_rows(first.names, second.names)
    of_rows = (lambda chosen: first.statistic(rows[chosen])), (lambda chosen: second.statistic(partners[chosen]))
    return set_difference(name, *of_rows, len(rows), first.without_replacement, resamples, seed)

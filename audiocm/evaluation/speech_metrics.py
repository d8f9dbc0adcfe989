"""The metrics of speech and singing of `audiocm score`: opinion scores, words, voice, prosody and pitch contours."""

import warnings

import numpy as np

from .. import metrics
from ..devices import warn_if_not_cpu
from ..embedders.protocol import Rater
from ..metrics import signal, speech
from ..metrics.score import DRAWS, statistic_score
from .provenance import PackageJudge
from .result import MetricResult, per_clip_result, set_result, statistic_of_weights
from .session import Evaluation

CLOSE = 50.0  # cents: half a semitone


def mean_opinion_scores(evaluation: Evaluation) -> MetricResult:
    """DNSMOS, predicted mean opinion scores after P.835 (overall) and P.808."""
    signal.require_package("speechmos.dnsmos")
    rows = {clip: speech.dnsmos(wav, rate) for clip, (wav,), rate in evaluation.wavs("generated")}
    columns = {f"DNSMOS {part}": [row[part] for row in rows.values()] for part in ("overall", "p808")}
    judges = [PackageJudge("speechmos")]
    return per_clip_result(columns, list(rows), evaluation.request.seed) + MetricResult(judges=judges)


def ratings(judge_name: str, evaluation: Evaluation) -> MetricResult:
    """The ratings of each clip by a judge of `embedders.ratings`, which names what it rates."""
    judge: Rater = evaluation.embedder(judge_name)
    generated = evaluation.features("generated", judge)
    columns = dict(zip(judge.titles, generated.features["embedding"].T, strict=True))
    return per_clip_result(columns, generated.names, evaluation.request.seed)


def similarities_to_prompts(judge_name: str, evaluation: Evaluation) -> MetricResult:
    """SIM-o: the cosine of each clip's speaker embedding to that of the reference clip of its name, which is the prompt
    whose voice it imitates."""
    judge = evaluation.embedder(judge_name)
    names, rows, partners = evaluation.paired_rows(judge)
    x, y = (evaluation.features(role, judge).features["embedding"] for role in ("generated", "reference"))
    columns = {f"SIM-o {judge.name}": metrics.cosine_similarities(x[rows], y[partners])}
    return per_clip_result(columns, names, evaluation.request.seed) + MetricResult(paired=True)


def word_error_rates(evaluation: Evaluation) -> MetricResult:
    """Word and character error rate of a transcript against the `text` (or prompt) of each line: all errors over all
    words of the set. An unusable clip has an empty transcript, so all of its words are wrong.

    A recogniser may repeat one word a hundred times; "without loops" counts at most a clip's words as wrong."""
    from ..embedders.speech import Transcriber

    signal.require_package("jiwer")
    texts = {name: line.get("text") or line["prompt"] for name, line in evaluation.prompts.items()}
    names = [name for name in evaluation.clip_names("generated") if speech.normalize_words(texts[name])]
    if wordless := sorted(texts.keys() - set(names)):
        counts = f"WER: {len(wordless)} texts hold no word after normalisation and are left out (first: {wordless[0]})"
        if not names:
            raise ValueError(counts)
        warnings.warn(counts, stacklevel=2)
    transcriber = Transcriber()
    warn_if_not_cpu(transcriber.name, evaluation.request.device)
    wavs = evaluation.wavs("generated", rate=transcriber.sample_rate)
    transcripts = {clip: transcriber(wav) for clip, (wav,), _ in wavs}
    if bad := len(set(names) - transcripts.keys()):
        warnings.warn(f"WER: {bad} unusable clips count as empty transcripts", stacklevel=2)
    errors = [speech.word_errors(texts[name], transcripts.get(name, "")) for name in names]
    counts = {kind: np.array([one[kind] for one in errors]) for kind in ("WER", "CER")}
    counts["WER without loops"] = np.minimum(counts["WER"], counts["WER"][:, 1:])
    packages = [PackageJudge("jiwer"), PackageJudge("transformers")]  # transformers normalises the text
    result = MetricResult(judges=[transcriber, *packages])
    for kind, pairs in counts.items():
        title = f"{kind} % {transcriber.name}"
        rates = dict(zip(names, (100 * pairs[:, 0] / pairs[:, 1]).tolist(), strict=True))
        result += _ratio_result(title, pairs, names, evaluation) + MetricResult(items={f"{title}, by clip": rates})
    return result


def _ratio_result(name: str, pairs: np.ndarray, names: list[str], evaluation: Evaluation) -> MetricResult:
    """Returns 100 × the sum of `pairs` [clip, 0] over the sum of `pairs` [clip, 1] as a set statistic."""
    errors, totals = pairs.T
    limit = 100.0 if (errors <= totals).all() else np.inf

    def ratio(weight: np.ndarray) -> float:
        return float(100 * (weight @ errors) / max(weight @ totals, 1))

    return _weighted_result(name, ratio, names, evaluation, limit)


def _weighted_result(name: str, function, names: list[str], evaluation: Evaluation, limit=np.inf) -> MetricResult:
    """Returns a function of how often each clip is drawn, from 0 to `limit`, as a set statistic with its interval."""
    score = statistic_score(name, function, len(names), DRAWS, evaluation.request.seed, (0.0, limit))
    return set_result(score, names, statistic_of_weights(function, len(names)))


def speaker_similarities(evaluation: Evaluation) -> MetricResult:
    """Cosine of each clip's speaker embedding to the mean of the reference's, without the reference clip of its own
    name.

    Scoring the reference against itself gives the upper bound: the average similarity between clips of one speaker."""
    from ..embedders.speech import SpeakerEmbedder

    judge = evaluation.embedder(SpeakerEmbedder())
    warn_if_not_cpu(judge.name, evaluation.request.device)
    generated, reference = (evaluation.features(role, judge) for role in ("generated", "reference"))
    x, y = generated.features["embedding"], np.asarray(reference.features["embedding"], np.float64)
    place = {name: i for i, name in enumerate(reference.names)}
    own = np.array([y[place[name]] if name in place else np.zeros(y.shape[1]) for name in generated.names])
    others = np.array([len(y) - (name in place) for name in generated.names])
    if not others.all():
        raise ValueError("speaker similarity needs reference clips of the voice besides the clip of the same name")
    values = metrics.cosine_similarities(x, (y.sum(axis=0) - own) / others[:, None])
    columns = {f"speaker similarity {judge.name}": values}
    return per_clip_result(columns, generated.names, evaluation.request.seed) + MetricResult(paired=True)


def prosody(evaluation: Evaluation) -> MetricResult:
    """Mean F0 and F0 spread of each clip and, if the reference has clips of the same names, the ratio of lengths."""
    paired = evaluation.has_partners
    rows, unvoiced = {}, []
    for clip, wavs, rate in evaluation.wavs(*("generated", "reference")[: 1 + paired]):
        try:
            rows[clip] = (*speech.pitch_statistics(wavs[0], rate), len(wavs[0]) / len(wavs[-1]))
        except ValueError:
            unvoiced.append(clip)
    if unvoiced:
        warnings.warn(f"F0: {len(unvoiced)} clips have no voiced frame (first: {unvoiced[0]})", stacklevel=2)
    if not rows:
        raise ValueError("no clip has a voiced frame: prosody is of speech")
    names = ("F0 Hz", "F0 spread st", "length / reference's")[: 2 + paired]
    columns = dict(zip(names, zip(*rows.values(), strict=True), strict=False))
    result = per_clip_result(columns, list(rows), evaluation.request.seed)
    return result + MetricResult(judges=[PackageJudge("librosa")], paired=paired)


def requested_contours(evaluation: Evaluation) -> dict[str, list]:
    """Returns the `f0` of each clip's line. Raises ValueError if a line has none."""
    requested = {name: evaluation.prompts[name].get("f0") for name in evaluation.clip_names("generated")}
    if lacking := [name for name, f0 in requested.items() if not f0]:
        raise ValueError(f'contour: {len(lacking)} lines of --prompts have no "f0", a list of Hz (first: {lacking[0]})')
    return requested


def pitch_contour(evaluation: Evaluation) -> MetricResult:
    """How well F0 follows the `f0` of each line (Hz, evenly over the clip; 0 is unvoiced, null is free): over the
    frames voiced in both, the median error and the share within 50 cents; over the frames that are not free, the share
    with the requested voicing. All frames of the set count alike; the bootstrap resamples clips."""
    requested = requested_contours(evaluation)
    wavs = evaluation.wavs("generated")
    tracks = {clip: speech.pitch_tracks(wav, rate, requested[clip]) for clip, (wav,), rate in wavs}
    voiced = [(x > 0) & (y > 0) for x, y in tracks.values()]
    cents = [np.abs(1200 * np.log2(y[v] / x[v])) for v, (x, y) in zip(voiced, tracks.values(), strict=True)]
    voicing = [[((x > 0) == (y > 0))[~np.isnan(x)].sum(), (~np.isnan(x)).sum()] for x, y in tracks.values()]
    clip_of_frame = np.repeat(np.arange(len(tracks)), [len(one) for one in cents])
    error = np.concatenate(cents)
    order = np.argsort(error)

    def median(weight: np.ndarray) -> float:
        total = np.cumsum(weight[clip_of_frame[order]])
        return float(error[order[np.searchsorted(total, max(total[-1], 1) / 2).clip(max=len(order) - 1)]])

    def close_share(weight: np.ndarray) -> float:
        return float(100 * weight[clip_of_frame] @ (error < CLOSE) / max(weight[clip_of_frame].sum(), 1))

    clips, result = list(tracks), MetricResult(judges=[PackageJudge("librosa")])
    if len(error):
        result += _weighted_result("F0 error, cents", median, clips, evaluation)
        result += _weighted_result(f"within {CLOSE:g} cents %", close_share, clips, evaluation, 100.0)
    else:
        warnings.warn("contour: no frame with a requested pitch is voiced: there is no error in cents", stacklevel=2)
    return result + _ratio_result("voicing as asked %", np.array(voicing), clips, evaluation)

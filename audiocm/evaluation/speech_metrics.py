"""The metrics of speech and song of `audiocm score`: words, voice, prosody, an asked contour, opinion."""

from __future__ import annotations

import warnings

import numpy as np

from .. import metrics
from ..devices import warn_if_not_cpu
from ..metrics import signal, speech
from ..metrics.score import DRAWS, statistic_score
from .provenance import PackageJudge
from .result import MetricResult, SetStatistic, metric_columns, per_item
from .session import Evaluation


def mos(context: Evaluation) -> MetricResult:
    signal.require_package("speechmos.dnsmos")
    context.judges.append(PackageJudge("speechmos"))
    rows = {clip: speech.dnsmos(wav, rate) for clip, (wav,), rate in context.wavs("generated")}
    parts = {f"DNSMOS {part}": [row[part] for row in rows.values()] for part in ("overall", "p808")}
    return metric_columns(parts, list(rows), "", context)


def words(context: Evaluation) -> MetricResult:
    """Word and character error rate of what a transcriber hears, against `text` (or the prompt) of each line: all errors over
    all words of the set. In a clip that cannot be used nothing is heard: all of its words are wrong.

    A recogniser may repeat a word of one clip a hundred times: "without loops" counts at most a clip's words as wrong."""
    from ..embedders.speech import Transcriber

    names = [context.key("generated", path) for path in context.paths["generated"]]
    lines = context.prompts_of(names)
    signal.require_package("jiwer")
    transcriber = Transcriber()
    warn_if_not_cpu(transcriber.name, context.request.device)
    context.judges += [transcriber, PackageJudge("jiwer"), PackageJudge("transformers")]  # the last one's normaliser
    heard = {clip: transcriber(wav) for clip, (wav,), _ in context.wavs("generated", rate=transcriber.sample_rate)}
    if len(heard) < len(names):
        warnings.warn(f"WER: {len(names) - len(heard)} clips that cannot be used count as nothing heard", stacklevel=2)
    errors = [speech.word_errors(line.get("text") or line["prompt"], heard.get(name, ""))
              for name, line in zip(names, lines, strict=True)]  # fmt: skip
    counts = {kind: np.array([one[kind] for one in errors]) for kind in ("WER", "CER")}
    counts["WER without loops"] = np.minimum(counts["WER"], counts["WER"][:, 1:])
    found, count = MetricResult([]), len(names)
    for kind, pairs in counts.items():
        title = f"{kind} % {transcriber.name}"
        of = lambda weight, p=pairs: float(100 * (weight @ p[:, 0]) / (weight @ p[:, 1]))  # noqa: E731
        found.scores.append(statistic_score(title, of, count, DRAWS, context.request.seed))
        found.items[f"{title}, by clip"] = dict(zip(names, (100 * pairs[:, 0] / pairs[:, 1]).tolist(), strict=True))
        found.sets[title] = SetStatistic(names, lambda rows, f=of, n=count: f(np.bincount(rows, minlength=n)))
    return found


def speaker(context: Evaluation) -> MetricResult:
    """Cosine of each clip's speaker vector with the mean of the reference's, without the clip of its own name: a reference
    scored against itself gives what the voice's own clips have in common."""
    from ..embedders.speech import SpeakerEmbedder

    judge = context.embedder(SpeakerEmbedder())
    warn_if_not_cpu(judge.name, context.request.device)
    made, real = (context.features(role, judge) for role in ("generated", "reference"))
    context.paired = True
    x, y = made.features["embedding"], np.asarray(real.features["embedding"], np.float64)
    place = {name: i for i, name in enumerate(real.names)}
    own = np.array([y[place[name]] if name in place else np.zeros(y.shape[1]) for name in made.names])
    others = np.array([len(y) - (name in place) for name in made.names])
    if not others.all():
        raise ValueError("speaker similarity needs reference clips of the voice besides the clip of the same name")
    values = metrics.cosine_similarities(x, (y.sum(axis=0) - own) / others[:, None])
    return per_item(f"speaker similarity {judge.name}", made.names, values, context)


def prosody(context: Evaluation) -> MetricResult:
    """How high and how lively each clip speaks, and with a reference of the same names how long, in its clip's lengths."""
    context.judges.append(PackageJudge("librosa"))
    paired = "reference" in context.paths and context.by_name("generated").keys() <= context.by_name("reference").keys()
    roles = ("generated", "reference") if paired else ("generated",)
    rows, unvoiced = {}, []
    for clip, wavs, rate in context.wavs(*roles):
        try:
            rows[clip] = (*speech.pitch_statistics(wavs[0], rate), len(wavs[0]) / len(wavs[-1]))
        except ValueError:
            unvoiced.append(clip)
    if unvoiced:
        warnings.warn(f"F0: {len(unvoiced)} clips have no voiced frame (first: {unvoiced[0]})", stacklevel=2)
    if not rows:
        raise ValueError("no clip has a voiced frame: prosody is of speech")
    names = ("F0 Hz", "F0 spread st", "length / reference's")[: 2 + paired]
    return metric_columns(dict(zip(names, zip(*rows.values(), strict=True), strict=False)), list(rows), "", context)


CLOSE = 50.0  # cents: half a semitone


def contour(context: Evaluation) -> MetricResult:
    """How well made F0 follows the `f0` of each line (Hz, evenly over the clip; 0: unvoiced, null: free): the median error and
    the share within 50 cents of frames voiced in both, and the share of asked frames voiced or not as asked; all frames of the
    set together, drawn clip by clip."""
    names = [context.key("generated", path) for path in context.paths["generated"]]
    asked = {name: line.get("f0") for name, line in zip(names, context.prompts_of(names), strict=True)}
    if lacking := [name for name, one in asked.items() if not one]:
        raise ValueError(f'contour: {len(lacking)} lines of --prompts have no "f0", a list of Hz (first: {lacking[0]})')
    context.judges.append(PackageJudge("librosa"))
    wavs = context.wavs("generated")
    clips = {clip: speech.pitch_tracks(wav, rate, asked[clip]) for clip, (wav,), rate in wavs}
    cents = [np.abs(1200 * np.log2(y[(x > 0) & (y > 0)] / x[(x > 0) & (y > 0)])) for x, y in clips.values()]
    owner = np.repeat(np.arange(len(clips)), [len(one) for one in cents])
    right = np.array([[((x > 0) == (y > 0))[~np.isnan(x)].sum(), (~np.isnan(x)).sum()] for x, y in clips.values()])
    error = np.concatenate(cents)
    order, near = np.argsort(error), error < CLOSE

    def middle(weight: np.ndarray) -> float:
        total = np.cumsum(weight[owner[order]])
        return float(error[order[np.searchsorted(total, total[-1] / 2)]])

    found, count = MetricResult([]), len(clips)
    statistics = {
        "F0 error, cents": middle,
        f"within {CLOSE:g} cents %": lambda weight: float(100 * weight[owner] @ near / max(weight[owner].sum(), 1)),
        "voicing as asked %": lambda weight: float(100 * (weight @ right[:, 0]) / (weight @ right[:, 1])),
    }
    if not len(owner):
        warnings.warn("contour: no frame is voiced that was asked to be: there is no error in cents", stacklevel=2)
        statistics = {"voicing as asked %": statistics["voicing as asked %"]}
    for name, of in statistics.items():
        found.scores.append(statistic_score(name, of, count, DRAWS, context.request.seed))
        found.sets[name] = SetStatistic(list(clips), lambda rows, f=of: f(np.bincount(rows, minlength=count)))
    return found

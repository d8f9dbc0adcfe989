"""The metrics of `audiocm score`, by name. Each takes the context and gives numbers, per clip where it can."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from . import metrics
from .devices import only_cpu
from .embedders import Embedder
from .folders import Context
from .metrics import Score, fidelity
from .metrics.draws import subsampled_score, taken
from .metrics.frechet import weighted_distance
from .metrics.intervals import DRAWS, statistic_score
from .metrics.kernels import Neighbours, kernel_statistic
from .provenance import PackageJudge
from .store import FeatureSet


@dataclass
class SetStatistic:
    """A number of a whole set, as a function of which of its clips (`names`) are drawn: for paired tests.

    `halves`: copies of a clip would spoil it, so halves are drawn without replacement."""

    names: list[str]
    of: Callable[[np.ndarray], float]
    halves: bool = False


@dataclass
class Found:
    """What one metric gives: numbers, and per-clip numbers and statistics by metric name for paired tests."""

    scores: list[Score]
    items: dict[str, dict[str, float]] = field(default_factory=dict)
    sets: dict[str, SetStatistic] = field(default_factory=dict)


def per_item(name: str, names: Sequence[str], values: np.ndarray, context: Context) -> Found:
    if len(values) == 1:
        warnings.warn(f"{name} is of one clip: its interval says nothing", stacklevel=2)
    score = metrics.mean_score(name, values, seed=context.request.seed)
    return Found([score], {name: dict(zip(names, map(float, values), strict=True))})


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


def _each(context: Context, compute: Callable[[Embedder, FeatureSet, FeatureSet], Found]) -> Found:
    """`compute` of every embedder and both sets under it, together."""
    found = Found([])
    for embedder in context.embedders:
        made, real = (context.features(role, embedder) for role in ("generated", "reference"))
        _at_least(2, "a distance of two sets", generated=made.count, reference=real.count)
        one = compute(embedder, made, real)
        found = Found(found.scores + one.scores, sets=found.sets | one.sets)
    return found


def fad(context: Context) -> Found:
    def compute(e: Embedder, made: FeatureSet, real: FeatureSet) -> Found:
        name, told = distance_name("FD", e), "its Fréchet distance compares only between sets of equal size"
        _few(e, made, real, told)
        score = made.frechet(name, real, context.request.draws, context.request.seed)
        distance, count = cache(lambda: weighted_distance(made.vectors, real.vectors)), len(made.names)
        of = lambda rows: distance()(np.bincount(rows, minlength=count))  # noqa: E731
        return Found([score], sets={name: SetStatistic(made.names, of)})

    return _each(context, compute)


def fad_infinity(context: Context) -> Found:
    def compute(e: Embedder, made: FeatureSet, real: FeatureSet) -> Found:
        name, x, y = distance_name("FD-infinity", e), made.vectors, real.vectors
        told = "FD-infinity's line through subsets bends there and what it extrapolates to is not valid"
        _few(e, made, real, told)
        return Found(
            [metrics.frechet_infinity_score(name, x, y, seed=context.request.seed)],
            sets={name: SetStatistic(made.names, lambda rows: metrics.frechet_infinity(taken(x, rows), y, steps=5))},
        )

    return _each(context, compute)


def kad(context: Context) -> Found:
    def compute(e: Embedder, made: FeatureSet, real: FeatureSet) -> Found:
        name, x, y, r = f"KAD {e.name}", made.features["embedding"], real.features["embedding"], context.request
        score = metrics.kernel_score(name, x, y, made.draw(real), r.draws, r.seed)
        if score.high < 0:
            warnings.warn(
                f"{name} lies below 0: the clips are not independent of the reference clips (round trips of them?), "
                f"which lowers it by up to {200 / made.count:.2g}; it still ranks systems on the same clips",
                stacklevel=2,
            )
        of = cache(lambda: kernel_statistic(x, y))
        return Found([score], sets={name: SetStatistic(made.names, lambda rows: of()(rows), halves=True)})

    return _each(context, compute)


def coverage(context: Context) -> Found:
    def compute(e: Embedder, made: FeatureSet, real: FeatureSet) -> Found:
        x, y = made.features["embedding"], real.features["embedding"]
        _at_least(
            12, "coverage (halves, in each 5 neighbours of every clip)", generated=made.count, reference=real.count
        )
        near, rows, found = Neighbours(x, y), np.arange(len(x)), Found([])
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


def kl(context: Context) -> Found:
    tagger = context.tagger
    for role in ("generated", "reference"):
        found = context.features(role, tagger)
        found.features["class shares"] = _distribution(found)
    names, p, q = context.paired_features(tagger, "class shares")
    return per_item(f"KL {tagger.name}", names, metrics.kl_divergences(p, q), context)


def inception(context: Context) -> Found:
    tagger, name = context.tagger, f"IS {context.tagger.name}"
    made = context.features("generated", tagger)
    shares = _distribution(made)
    _at_least(2, "an inception score", generated=len(shares))
    if len(shares) < shares.shape[1]:
        told = f"{name}: {len(shares)} clips are fewer than the {shares.shape[1]} classes, which lowers it"
        warnings.warn(f"{told}: it compares only between sets of equal size", stacklevel=2)
    score = metrics.inception_score(shares, name, context.request.draws, context.request.seed)
    of = lambda rows: metrics.inception_score(shares[rows], draws=1).value  # noqa: E731
    return Found([score], sets={name: SetStatistic(made.names, of)})


def diversity(context: Context) -> Found:
    """Over all clips, and between takes of one prompt where there are some (1 − cosine; centred where a reference is)."""
    found = Found([])
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
            found = Found(found.scores + one.scores, found.items | one.items, found.sets)
    return found


def clap(context: Context) -> Found:
    """CLAP_T with the prompts; CLAP_A (clip against the reference clip of its name) where names pair up."""
    judge, found = context.clap, Found([])
    made = context.features("generated", judge)
    if context.prompts:
        words = [line["prompt"] for line in context.prompts_of(made.names)]
        found = per_item(
            f"CLAP_T {judge.name}", made.names, judge.text_scores(made.features["embedding"], words), context
        )
        for name, values in metrics.retrieved(made.features["embedding"], judge.text(words)).items():
            one = per_item(f"{name} {judge.name}", made.names, values, context)
            found = Found(found.scores + one.scores, found.items | one.items)
    if "reference" in context.paths and {context.key("generated", p) for p in context.paths["generated"]} <= {
        context.key("reference", p) for p in context.paths["reference"]
    }:
        names, x, y = context.paired_features(judge, "embedding")
        paired = per_item(f"CLAP_A {judge.name}", names, metrics.cosines(x, y), context)
        found = Found(found.scores + paired.scores, found.items | paired.items)
    if not found.scores:
        raise ValueError("CLAP compares with words or with clips of the same names: name --prompts or a --reference")
    if not context.prompts:
        warnings.warn("CLAP_T and R@k are not scored: they need the words (--prompts)", stacklevel=2)
    return found


def alignment(context: Context) -> Found:
    """The second, CLAP-free judge of words: a tagger's class names against the prompt (see alignment.py)."""
    from .alignment import SentenceEncoder, TagAlignment

    tagger = _naming(context.tagger)
    made = context.features("generated", tagger)
    words = [line["prompt"] for line in context.prompts_of(made.names)]
    encoder = SentenceEncoder()
    context.judges.append(encoder)
    judge = TagAlignment(encoder, tagger.classes)
    return per_item(judge.name, made.names, judge(made.features["probabilities"], words), context)


def hits(context: Context) -> Found:
    """Tagger's top-5 hits; an unusable clip is a miss. Needs `labels` (AudioSet names) in the prompts file."""
    tagger = _naming(context.tagger)
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


def _by_file(
    *names: str, function: Callable[[np.ndarray, np.ndarray, int], tuple[float, ...]], package: str | None = None
) -> Callable[[Context], Found]:
    """A metric of (reference wav, generated wav, rate) that gives one number for each of `names`, by a `package`."""

    def compute(context: Context) -> Found:
        rows, failed = {}, []
        if package is not None:
            fidelity.needed(package)
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
        return _columns(dict(zip(names, zip(*rows.values(), strict=True), strict=True)), list(rows), "", context)

    return compute


def _mos(context: Context) -> Found:
    fidelity.needed("speechmos.dnsmos")
    context.judges.append(PackageJudge("speechmos"))
    rows = {clip: fidelity.dnsmos(wav, rate) for clip, (wav,), rate in context.wavs("generated")}
    parts = {f"DNSMOS {part}": [row[part] for row in rows.values()] for part in ("overall", "p808")}
    return _columns(parts, list(rows), "", context)


def _columns(columns: dict[str, Sequence[float]], names: Sequence[str], judge: str, context: Context) -> Found:
    """Several numbers of each of the clips `names` as one Found, their titles followed by the judge's name."""
    found = Found([])
    for title, values in columns.items():
        one = per_item(f"{title} {judge}".strip(), names, np.array(values), context)
        found = Found(found.scores + one.scores, found.items | one.items)
    return found


def words(context: Context) -> Found:
    """Word and character error rate of what a transcriber hears, against `text` (or the prompt) of each line: all errors over
    all words of the set. In a clip that cannot be used nothing is heard: all of its words are wrong.

    A recogniser may repeat a word of one clip a hundred times: "without loops" counts at most a clip's words as wrong."""
    from .speech_judges import Transcriber

    names = [context.key("generated", path) for path in context.paths["generated"]]
    lines = context.prompts_of(names)
    fidelity.needed("jiwer")
    transcriber = Transcriber()
    only_cpu(transcriber.name, context.request.device)
    context.judges += [transcriber, PackageJudge("jiwer"), PackageJudge("transformers")]  # the last one's normaliser
    heard = {clip: transcriber(wav) for clip, (wav,), _ in context.wavs("generated", rate=transcriber.sample_rate)}
    if len(heard) < len(names):
        warnings.warn(f"WER: {len(names) - len(heard)} clips that cannot be used count as nothing heard", stacklevel=2)
    errors = [fidelity.word_errors(line.get("text") or line["prompt"], heard.get(name, ""))
              for name, line in zip(names, lines, strict=True)]  # fmt: skip
    counts = {kind: np.array([one[kind] for one in errors]) for kind in ("WER", "CER")}
    counts["WER without loops"] = np.minimum(counts["WER"], counts["WER"][:, 1:])
    found, count = Found([]), len(names)
    for kind, pairs in counts.items():
        title = f"{kind} % {transcriber.name}"
        of = lambda weight, p=pairs: float(100 * (weight @ p[:, 0]) / (weight @ p[:, 1]))  # noqa: E731
        found.scores.append(statistic_score(title, of, count, DRAWS, context.request.seed))
        found.items[f"{title}, by clip"] = dict(zip(names, (100 * pairs[:, 0] / pairs[:, 1]).tolist(), strict=True))
        found.sets[title] = SetStatistic(names, lambda rows, f=of, n=count: f(np.bincount(rows, minlength=n)))
    return found


def speaker(context: Context) -> Found:
    """Cosine of each clip's speaker vector with the mean of the reference's, without the clip of its own name: a reference
    scored against itself gives what the voice's own clips have in common."""
    from .speech_judges import SpeakerEmbedder

    judge = context.embedder(SpeakerEmbedder())
    only_cpu(judge.name, context.request.device)
    made, real = (context.features(role, judge) for role in ("generated", "reference"))
    context.paired = True
    x, y = made.features["embedding"], np.asarray(real.features["embedding"], np.float64)
    place = {name: i for i, name in enumerate(real.names)}
    own = np.array([y[place[name]] if name in place else np.zeros(y.shape[1]) for name in made.names])
    others = np.array([len(y) - (name in place) for name in made.names])
    if not others.all():
        raise ValueError("speaker similarity needs reference clips of the voice besides the clip of the same name")
    values = metrics.cosines(x, (y.sum(axis=0) - own) / others[:, None])
    return per_item(f"speaker similarity {judge.name}", made.names, values, context)


def prosody(context: Context) -> Found:
    """How high and how lively each clip speaks, and with a reference of the same names how long, in its clip's lengths."""
    context.judges.append(PackageJudge("librosa"))
    paired = "reference" in context.paths and context.by_name("generated").keys() <= context.by_name("reference").keys()
    roles = ("generated", "reference") if paired else ("generated",)
    rows, unvoiced = {}, []
    for clip, wavs, rate in context.wavs(*roles):
        try:
            rows[clip] = (*fidelity.pitch_statistics(wavs[0], rate), len(wavs[0]) / len(wavs[-1]))
        except ValueError:
            unvoiced.append(clip)
    if unvoiced:
        warnings.warn(f"F0: {len(unvoiced)} clips have no voiced frame (first: {unvoiced[0]})", stacklevel=2)
    if not rows:
        raise ValueError("no clip has a voiced frame: prosody is of speech")
    names = ("F0 Hz", "F0 spread st", "length / reference's")[: 2 + paired]
    return _columns(dict(zip(names, zip(*rows.values(), strict=True), strict=False)), list(rows), "", context)


CLOSE = 50.0  # cents: half a semitone


def contour(context: Context) -> Found:
    """How well made F0 follows the `f0` of each line (Hz, evenly over the clip; 0: unvoiced, null: free): the median error and
    the share within 50 cents of frames voiced in both, and the share of asked frames voiced or not as asked; all frames of the
    set together, drawn clip by clip."""
    names = [context.key("generated", path) for path in context.paths["generated"]]
    asked = {name: line.get("f0") for name, line in zip(names, context.prompts_of(names), strict=True)}
    if lacking := [name for name, one in asked.items() if not one]:
        raise ValueError(f'contour: {len(lacking)} lines of --prompts have no "f0", a list of Hz (first: {lacking[0]})')
    context.judges.append(PackageJudge("librosa"))
    wavs = context.wavs("generated")
    clips = {clip: fidelity.followed(wav, rate, asked[clip]) for clip, (wav,), rate in wavs}
    cents = [np.abs(1200 * np.log2(y[(x > 0) & (y > 0)] / x[(x > 0) & (y > 0)])) for x, y in clips.values()]
    owner = np.repeat(np.arange(len(clips)), [len(one) for one in cents])
    right = np.array([[((x > 0) == (y > 0))[~np.isnan(x)].sum(), (~np.isnan(x)).sum()] for x, y in clips.values()])
    error = np.concatenate(cents)
    order, near = np.argsort(error), error < CLOSE

    def middle(weight: np.ndarray) -> float:
        total = np.cumsum(weight[owner[order]])
        return float(error[order[np.searchsorted(total, total[-1] / 2)]])

    found, count = Found([]), len(clips)
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


NEED_LENGTH = ("lsd", "stft", "pesq", "stoi", "f0")  # a pair of the same length
NEED_REFERENCE = {"fad", "fad-inf", "kad", "coverage", "kl", "lsd", "stft", "pesq", "stoi", "f0", "speaker"}
NEED_WORDS = {"alignment", "hits", "wer", "contour"}
METRICS: dict[str, Callable[[Context], Found]] = {
    "fad": fad, "fad-inf": fad_infinity, "kad": kad, "coverage": coverage, "kl": kl, "is": inception,
    "diversity": diversity, "clap": clap, "alignment": alignment, "hits": hits,
    "lsd": _by_file("log-spectral distance dB", function=lambda x, y, rate: (fidelity.log_spectral_distance(x, y),)),
    "stft": _by_file("multi-resolution STFT", function=lambda x, y, rate: (fidelity.multi_resolution_stft(x, y),)),
    "pesq": _by_file("PESQ-WB", function=lambda *clip: (fidelity.pesq_wideband(*clip),), package="pesq"),
    "stoi": _by_file("STOI", function=lambda *clip: (fidelity.stoi(*clip),), package="pystoi"),
    "f0": _by_file("F0 RMSE cents", "voicing error", package="librosa",
                   function=lambda *clip: tuple(fidelity.pitch_errors(*clip).values())),
    "dnsmos": _mos, "wer": words, "speaker": speaker, "prosody": prosody, "contour": contour,
}  # fmt: skip

"""Folders of sound → numbers with a card; what `audiocm score` and `audiocm compare` run."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import soundfile

from ..files import content_digest
from ..metrics import paired_difference
from ..metrics.signal import comparable_lengths
from .features import CAP
from .provenance import card, require_comparable
from .session import Evaluation, ScoreRequest


def score(generated: str | Path, reference: str | Path | None = None, **options) -> dict:
    """Score a folder; `options` are the fields of Request. The result (also what --json writes): card, scores, items,
    intake, warnings, outliers. Raises ValueError naming what cannot be scored and why."""
    return evaluate(ScoreRequest(Path(generated), Path(reference) if reference else None, **options))[0]


def evaluate(request: ScoreRequest) -> tuple[dict, Evaluation]:
    """The result and the context with its embedded folders (for a paired comparison)."""
    from .registry import METRICS

    _check_needs(request)
    context, scores, items = Evaluation(request), {}, {}
    _check_lengths(context)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        for name in request.metrics:
            found = METRICS[name](context)
            scores |= {s.name: s.as_dict() for s in found.scores}
            items |= found.items
            context.sets |= found.sets
    told = list(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, UserWarning)))
    told += [f"{role}: {len(names)} {reason} left out (first: {names[0]})"
             for role, intake in context.intakes.items() for reason, names in intake.left_out.items()]  # fmt: skip
    told += [f"{role}: {intake.cut} clips are longer than {request.form.longest:g} s, the rest of them is not heard"
             for role, intake in context.intakes.items() if intake.cut]  # fmt: skip
    told += _mixed(context)
    intake = {role: one.as_dict() for role, one in context.intakes.items()}
    result = {"card": _card(context), "scores": scores, "items": items, "intake": intake, "warnings": told}
    result["outliers"] = _outliers(context)
    if "fad" in request.metrics and not result["outliers"]:
        told.append(f"no file's share of the Fréchet distance is given for sets over {CAP} clips")
    return result, context


def _check_needs(request: ScoreRequest) -> None:
    """Raises ValueError, before anything is heard, where a metric is unknown or lacks what it compares with."""
    from .registry import METRICS, NEED_REFERENCE, NEED_WORDS

    asked = list(dict.fromkeys(request.metrics))
    unknown = [name for name in asked if name not in METRICS]
    if unknown:
        raise ValueError(f"unknown metrics {', '.join(unknown)}; known: {', '.join(METRICS)}")
    if request.reference is None and (lacking := [name for name in asked if name in NEED_REFERENCE]):
        raise ValueError(f"{', '.join(lacking)}: compared with real sound: name a folder with --reference")
    if request.prompts is None and (lacking := [name for name in asked if name in NEED_WORDS]):
        raise ValueError(f"{', '.join(lacking)}: compared with words: name a file with --prompts")
    if "clap" in asked and request.reference is None and request.prompts is None:
        raise ValueError("clap: compared with words or with clips of the same names: name --prompts or a --reference")


def _check_lengths(context: Evaluation) -> None:
    """Raises ValueError, before anything is heard, where a metric compares wavs sample by sample and too many pairs differ in length."""
    from .registry import NEED_LENGTH

    asked = [name for name in context.request.metrics if name in NEED_LENGTH]
    if not asked:
        return
    pairs, off, longest = context.pairs(), [], context.request.form.longest
    for made, real in pairs:
        try:
            lengths = [min(soundfile.info(path).duration, longest) for path in (real, made)]
        except soundfile.SoundFileError:  # left out and counted when it is read
            continue
        if not comparable_lengths(*lengths):
            off.append(f"{context.key('generated', made)}: {lengths[1]:.2f} s against {lengths[0]:.2f} s")
    if len(off) > context.request.left_out * len(pairs):
        told = f"{', '.join(asked)}: {len(off)} of {len(pairs)} pairs differ in length by more than a tenth (first: {off[0]})"
        raise ValueError(f"{told}; leave these metrics out, or --left-out allows more")


def _mixed(context: Evaluation) -> list[str]:
    """Rates and channels that are not all alike: their bandwidths differ, and embedders hear that."""
    found = [f"{role}: {text}" for role, intake in context.intakes.items() for text in intake.mixed()]
    rates = {role: sorted(intake.rates) for role, intake in context.intakes.items()}
    if len(rates) > 1 and rates["generated"] != rates["reference"]:
        found.append(f"generated has rates {rates['generated']}, the reference {rates['reference']}")
    advice = " (all are brought to the embedder's; --band-limit makes bandwidths alike)"
    return [text + advice if "rates" in text and context.request.form.band_limit is None else text for text in found]


def _card(context: Evaluation) -> dict:
    request = context.request
    clips = {role: intake.used for role, intake in context.intakes.items()}
    told = "prompt of the file's line" if context.prompts else None
    return card(
        [*context.used_embedders, *context.judges],
        request.form,
        request.seed,
        clips=clips,
        reference=_digest_of_reference(context),
        caption_policy=told,
        prompts=_digest_of_words(context.prompts),
        draws=request.draws,
        generated=str(request.generated),
        left_out={role: intake.as_dict()["left_out"] for role, intake in context.intakes.items()},
        cut={role: intake.cut for role, intake in context.intakes.items()},
    )


def _digest_of_reference(context: Evaluation) -> str | None:
    """Of the used reference files' contents, with their names where a metric paired by them; None: there is none."""
    if "reference" not in context.intakes:
        return None
    files = context.intakes["reference"].contents.items()
    names = (context.key("reference", path) if context.paired else "" for path, _ in files)
    return content_digest(*sorted(f"{content} {name}" for name, (_, content) in zip(names, files, strict=True)))


def _digest_of_words(prompts: dict[str, dict]) -> str | None:
    """Of all that a metric reads in the prompts' lines, whatever the files are called; None: there are no prompts."""
    read = [json.dumps([line.get(key) for key in ("prompt", "text", "labels", "f0")]) for line in prompts.values()]
    return content_digest("\n".join(sorted(read))) if read else None


def _outliers(context: Evaluation) -> list[dict]:
    """What each generated file adds to the first embedder's Fréchet distance, the most first: worth listening to.

    None of sets over CAP clips, whose features are not all held; `scored` says so."""
    from ..metrics import frechet_contributions
    from .registry import distance_name

    if "fad" not in context.request.metrics:
        return []
    embedder = context.embedders[0]
    made, real = context.features("generated", embedder), context.features("reference", embedder)
    if not (made.whole and real.whole):
        return []
    shares = frechet_contributions(made.vectors, real.vectors)
    of = distance_name("FD", embedder)
    return [{"file": str(made.paths[i]), "share": float(shares[i]), "of": of} for i in shares.argsort()[::-1]]


def compare(first: ScoreRequest, second: ScoreRequest, draws: int = 1000) -> dict:
    """Two systems measured alike: differences first − second with intervals and p-values, paired by file name."""
    (one, a), (two, b) = evaluate(first), evaluate(second)
    for context in (a, b):
        context.by_name("generated")
    alike = {"clips", "left_out", "cut", "generated"}
    require_comparable(*({k: v for k, v in r["card"].items() if k not in alike} for r in (one, two)))
    differences = {}
    for name in one["items"].keys() & two["items"].keys():
        x, y = one["items"][name], two["items"][name]
        both = sorted(x.keys() & y.keys())
        if both:
            differences[name] = paired_difference(name, [x[k] for k in both], [y[k] for k in both], draws).as_dict()
    differences |= _set_differences(a, b, first.draws)
    return {"card": one["card"], "first": one, "second": two, "differences": differences}


def _set_differences(a: Evaluation, b: Evaluation, draws: int) -> dict:
    """Set statistics (Fréchet, KAD ...) of the clips that both folders have, drawn alike for both."""
    from ..metrics import set_difference

    found = {}
    for name in (name for name in a.sets if name in b.sets):
        x, y = a.sets[name], b.sets[name]
        place = {clip: i for i, clip in enumerate(y.names)}
        left = np.array([i for i, clip in enumerate(x.names) if clip in place], dtype=int)
        right = np.array([place[clip] for clip in x.names if clip in place], dtype=int)
        first, second = (lambda rows, one=one, at=at: one.of(at[rows]) for one, at in ((x, left), (y, right)))
        found[name] = set_difference(name, first, second, len(left), x.halves, draws, a.request.seed).as_dict()
    return found


def compare_files(first: Path, second: Path, anyway: bool) -> dict:
    """Two stored results. Raises ValueError naming every difference of their cards unless `anyway`."""
    results = []
    for file in (first, second):
        try:
            results.append(json.loads(file.read_text(encoding="utf-8")))
            results[-1]["card"]["generated"], results[-1]["card"]["clips"]
            results[-1]["scores"], results[-1]["items"], results[-1]["warnings"]
        except KeyError as error:
            raise ValueError(f"{file}: not a result of audiocm score (it has no {error})") from error
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"{file}: not a result of audiocm score ({error})") from error
    if not anyway:
        require_comparable(results[0]["card"], results[1]["card"])
    one, two = results
    if not one["scores"].keys() & two["scores"].keys():
        names = (", ".join(result["scores"]) for result in results)
        raise ValueError("the two results have no number in common: " + " against ".join(names))
    differences = {}
    for name in one["items"].keys() & two["items"].keys():
        both = sorted(one["items"][name].keys() & two["items"][name].keys())
        if len(both) > 1:
            x, y = ([r["items"][name][k] for k in both] for r in results)
            differences[name] = paired_difference(name, x, y).as_dict()
    return {"card": one["card"], "first": one, "second": two, "differences": differences}

"""Folders of sound → numbers with a card: `audiocm score` and `audiocm compare`."""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import soundfile

from .cli import quiet
from .clips import LOUDNESS, Form, as_is
from .embedders import digest_of
from .features import cache_folder
from .folders import LEFT_OUT, Context, Request
from .lookup import KNOWN
from .metrics import Score, paired_difference
from .metrics.fidelity import comparable_lengths
from .provenance import card, require_comparable
from .provenance import differences as card_differences
from .store import CAP

TOLD_OUTLIERS = 5  # in the table; --json holds all


def score(generated: str | Path, reference: str | Path | None = None, **options) -> dict:
    """Score a folder; `options` are the fields of Request. The result (also what --json writes): card, scores, items,
    intake, warnings, outliers. Raises ValueError naming what cannot be scored and why."""
    return scored(Request(Path(generated), Path(reference) if reference else None, **options))[0]


def scored(request: Request) -> tuple[dict, Context]:
    """The result and the context with its embedded folders (for a paired comparison)."""
    from .measures import METRICS

    _check_needs(request)
    context, scores, items = Context(request), {}, {}
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


def _check_needs(request: Request) -> None:
    """Raises ValueError, before anything is heard, where a metric is unknown or lacks what it compares with."""
    from .measures import METRICS, NEED_REFERENCE, NEED_WORDS

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


def _check_lengths(context: Context) -> None:
    """Raises ValueError, before anything is heard, where a metric compares wavs sample by sample and too many pairs differ in length."""
    from .measures import NEED_LENGTH

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


def _mixed(context: Context) -> list[str]:
    """Rates and channels that are not all alike: their bandwidths differ, and embedders hear that."""
    found = [f"{role}: {text}" for role, intake in context.intakes.items() for text in intake.mixed()]
    rates = {role: sorted(intake.rates) for role, intake in context.intakes.items()}
    if len(rates) > 1 and rates["generated"] != rates["reference"]:
        found.append(f"generated has rates {rates['generated']}, the reference {rates['reference']}")
    advice = " (all are brought to the embedder's; --band-limit makes bandwidths alike)"
    return [text + advice if "rates" in text and context.request.form.band_limit is None else text for text in found]


def _card(context: Context) -> dict:
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


def _digest_of_reference(context: Context) -> str | None:
    """Of the used reference files' contents, with their names where a metric paired by them; None: there is none."""
    if "reference" not in context.intakes:
        return None
    files = context.intakes["reference"].contents.items()
    names = (context.key("reference", path) if context.paired else "" for path, _ in files)
    return digest_of(*sorted(f"{content} {name}" for name, (_, content) in zip(names, files, strict=True)))


def _digest_of_words(prompts: dict[str, dict]) -> str | None:
    """Of all that a metric reads in the prompts' lines, whatever the files are called; None: there are no prompts."""
    read = [json.dumps([line.get(key) for key in ("prompt", "text", "labels")]) for line in prompts.values()]
    return digest_of("\n".join(sorted(read))) if read else None


def _outliers(context: Context) -> list[dict]:
    """What each generated file adds to the first embedder's Fréchet distance, the most first: worth listening to.

    None of sets over CAP clips, whose features are not all held; `scored` says so."""
    from .measures import distance_name
    from .metrics import frechet_contributions

    if "fad" not in context.request.metrics:
        return []
    embedder = context.embedders[0]
    made, real = context.features("generated", embedder), context.features("reference", embedder)
    if not (made.whole and real.whole):
        return []
    shares = frechet_contributions(made.vectors, real.vectors)
    of = distance_name("FD", embedder)
    return [{"file": str(made.paths[i]), "share": float(shares[i]), "of": of} for i in shares.argsort()[::-1]]


def compare(first: Request, second: Request, draws: int = 1000) -> dict:
    """Two systems measured alike: differences first − second with intervals and p-values, paired by file name."""
    (one, a), (two, b) = scored(first), scored(second)
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


def _set_differences(a: Context, b: Context, draws: int) -> dict:
    """Set statistics (Fréchet, KAD ...) of the clips that both folders have, drawn alike for both."""
    from .metrics import set_difference

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


def table(result: dict) -> str:
    """The numbers, then what they are, then what to know about them; for a terminal."""
    width = max((len(name) for name in result["scores"]), default=0)
    lines = [f"{name:{width}}  {Score(**found)}" for name, found in result["scores"].items()]
    lines += ["", *_about(result["card"]), *(f"warning: {text}" for text in result["warnings"])]
    lines += [
        f"outlier: {one['file']} adds {one['share']:.3g} to {one['of']}" for one in result["outliers"][:TOLD_OUTLIERS]
    ]
    return "\n".join(lines)


def _counts(about: dict) -> str:
    """Used and left-out clips of each folder, in words."""
    return "; ".join(
        f"{role} {used} used, "
        + ", ".join(f"{about['left_out'][role].get(why, 0)} {why}" for why in ("silent", "corrupt", "too short"))
        + f", {about.get('cut', {}).get(role, 0)} cut"
        for role, used in about["clips"].items()
    )


def _about(about: dict) -> list[str]:
    """A card's lines under a table."""
    judges = ", ".join(
        f"{name} ({e['digest']}"
        + (f", {e['sample_rate']} Hz" if e["sample_rate"] else "")
        + (f", {e['clip']})" if e.get("clip") else ")")
        for name, e in about["embedders"].items()
    )
    form = ", ".join(f"{key} {value}" for key, value in about["form"].items() if value is not None)
    words = f", words: {about['caption_policy']}" if about.get("caption_policy") else ""
    return [
        f"embedders: {judges or 'none'}",
        f"form: {form}{words}",
        f"clips: {_counts(about)}, reference {about.get('reference')}, seed {about['seed']}",
        f"versions: {', '.join(f'{k} {v}' for k, v in about['versions'].items())}; commit {about['commit']}",
    ]


def comparison_table(result: dict) -> str:
    """first, second and their difference, one metric a line."""
    one, two, differences = result["first"]["scores"], result["second"]["scores"], result["differences"]
    names = [name for name in one if name in two]
    width = max((len(name) for name in names), default=0)
    lines = [f"{'':{width}}  first | second | first - second"]
    for name in names:
        paired = str(Score(**differences[name])) if name in differences else "no paired test (compare the folders)"
        lines.append(f"{name:{width}}  {Score(**one[name])} | {Score(**two[name])} | {paired}")
    for side in ("first", "second"):
        about = result[side]["card"]
        lines += ["", f"{side}: {about['generated']}, clips: {_counts(about)}"]
        lines += [f"warning: {text}" for text in result[side]["warnings"]]
    apart = card_differences(result["first"]["card"], result["second"]["card"])
    return "\n".join([*lines, "", *_about(result["card"]), *(f"differs: {text}" for text in apart)])


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _common(parser: argparse.ArgumentParser) -> None:
    from .measures import METRICS

    add = parser.add_argument
    add("--reference", metavar="FOLDER", help="real sound to compare with; files of the same names pair up")
    add(
        "--prompts", metavar="FILE", help='JSON lines {"file", "prompt", "labels"}, e.g. the manifest.jsonl of generate'
    )
    add("--metrics", type=_listed, default=("fad", "kad"), help=f"default fad,kad; of {', '.join(METRICS)}")
    add("--embedder", type=_listed, default=(), metavar="NAME,...", help=" ".join(KNOWN.split()).replace("%", "%%"))
    add("--clap", metavar="NAME", help="for the clap metric (default small-clap)")
    add("--tokenizer", metavar="NAME", help="with a LAION .pt file, which holds none: a RoBERTa folder or hub id")
    add(
        "--tagger",
        metavar="NAME",
        help="for kl, is, hits, alignment: yamnet (default where installed), a CLAP, or (kl, is) panns:FILE",
    )
    add("--loudness", choices=LOUDNESS, default=as_is.__name__, help="default as_is")
    add("--band-limit", type=int, metavar="RATE", help="resample all clips to this rate first, so bandwidths are alike")
    add("--longest", type=float, default=30.0, metavar="SECONDS", help="no more of a clip is heard (default 30)")
    add("--left-out", type=float, default=LEFT_OUT, metavar="SHARE", help="unusable clips allowed (default 0.05)")
    add("--workers", type=int, default=2, help="files read side by side (default 2)")
    add("--draws", type=int, default=200, help="bootstrap draws of set statistics (default 200)")
    add("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    add("--device", default="cpu", help="auto, cpu, cuda, cuda:1 ... (default cpu)")
    add("--no-cache", action="store_true", help="compute every embedding again")
    add("--json", metavar="FILE", help="write the whole result with its card")


def score_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `audiocm score`."""
    parser.add_argument("generated", metavar="GENERATED", help="a folder of sounds")
    _common(parser)


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `audiocm compare`."""
    parser.add_argument("first", metavar="A", help="a folder of sounds, or a result written by score --json")
    parser.add_argument("second", metavar="B", help="the same of another system")
    parser.add_argument("--anyway", action="store_true", help="compare results whose cards differ")
    _common(parser)


def request_of(args: argparse.Namespace, generated: str) -> Request:
    """The Request that command-line options describe."""
    form = Form(loudness=LOUDNESS[args.loudness], longest=args.longest, band_limit=args.band_limit)
    named = {"embedders": args.embedder, "form": form, "cache": None if args.no_cache else cache_folder()}
    same = {f.name: getattr(args, f.name) for f in fields(Request) if hasattr(args, f.name) and f.name not in named}
    same |= {key: Path(same[key]) for key in ("reference", "prompts") if same[key] is not None}
    return Request(**(same | named | {"generated": Path(generated)}))


def _writable(file: str | None) -> None:
    """Raises ValueError or OSError, before anything is heard, where --json cannot be written."""
    if file and Path(file).is_dir():
        raise ValueError(f"--json {file}: is a folder, name a file")
    if file:
        Path(file).parent.mkdir(parents=True, exist_ok=True)


def _told(result: dict, text: str, file: str | None) -> None:
    print(text)
    if file:
        Path(file).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def score_command(args: argparse.Namespace) -> None:
    """Run `audiocm score`: the table on stdout, the whole result in --json."""
    _writable(args.json)
    with quiet():
        result, _ = scored(request_of(args, args.generated))
    _told(result, table(result), args.json)


def compare_command(args: argparse.Namespace) -> None:
    """Run `audiocm compare` on two folders or two stored results."""
    _writable(args.json)
    files: Sequence[Path] = (Path(args.first), Path(args.second))
    if all(file.is_file() for file in files):
        result = compare_files(*files, args.anyway)
    elif all(file.is_dir() for file in files):
        request = request_of(args, args.first)
        with quiet():
            result = compare(request, replace(request, generated=files[1]))
    else:
        absent = [str(file) for file in files if not file.exists()]
        if absent:
            raise ValueError(f"{absent[0]}: no such file or folder")
        raise ValueError(f"{args.first}, {args.second}: give two folders, or two results of audiocm score --json")
    _told(result, comparison_table(result), args.json)

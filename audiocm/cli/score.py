"""`audiocm score` and `audiocm compare`: their options, and their results as tables for a terminal."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from ..audio.loudness import LOUDNESS, keep_level
from ..embedders.registry import KNOWN
from ..evaluation.features import cache_folder
from ..evaluation.preprocessing import Preprocessing
from ..evaluation.provenance import differences as card_differences
from ..evaluation.scoring import compare, compare_files, evaluate
from ..evaluation.session import LEFT_OUT, ScoreRequest
from ..metrics import Score
from .loading import quiet_libraries

TOLD_OUTLIERS = 5  # in the table; --json holds all
EXAMPLES = """examples:
  audiocm score sounds --reference real --metrics fad,kad
  audiocm score sounds --prompts sounds/manifest.jsonl --metrics clap,alignment --embedder small-clap
  audiocm score sounds --reference real --embedder vggish:vggish-10086976.pth --metrics fad,fad-inf --json result.json
  audiocm score spoken --reference recorded --prompts texts.jsonl --metrics wer,dnsmos,speaker,prosody"""
COMPARE_EXAMPLES = """examples:
  audiocm compare mine theirs --reference real --metrics fad,kad
  audiocm compare mine.json theirs.json"""


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
    from ..evaluation.registry import METRICS

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
    add("--loudness", choices=LOUDNESS, default=keep_level.__name__, help="default as_is")
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
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    parser.add_argument("generated", metavar="GENERATED", help="a folder of sounds")
    _common(parser)


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `audiocm compare`."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, COMPARE_EXAMPLES
    parser.add_argument("first", metavar="A", help="a folder of sounds, or a result written by score --json")
    parser.add_argument("second", metavar="B", help="the same of another system")
    parser.add_argument("--anyway", action="store_true", help="compare results whose cards differ")
    _common(parser)


def request_of(args: argparse.Namespace, generated: str) -> ScoreRequest:
    """The Request that command-line options describe."""
    form = Preprocessing(loudness=LOUDNESS[args.loudness], longest=args.longest, band_limit=args.band_limit)
    named = {"embedders": args.embedder, "form": form, "cache": None if args.no_cache else cache_folder()}
    same = {
        f.name: getattr(args, f.name) for f in fields(ScoreRequest) if hasattr(args, f.name) and f.name not in named
    }
    same |= {key: Path(same[key]) for key in ("reference", "prompts") if same[key] is not None}
    return ScoreRequest(**(same | named | {"generated": Path(generated)}))


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
    with quiet_libraries():
        result, _ = evaluate(request_of(args, args.generated))
    _told(result, table(result), args.json)


def compare_command(args: argparse.Namespace) -> None:
    """Run `audiocm compare` on two folders or two stored results."""
    _writable(args.json)
    files: Sequence[Path] = (Path(args.first), Path(args.second))
    if all(file.is_file() for file in files):
        result = compare_files(*files, args.anyway)
    elif all(file.is_dir() for file in files):
        request = request_of(args, args.first)
        with quiet_libraries():
            result = compare(request, replace(request, generated=files[1]))
    else:
        absent = [str(file) for file in files if not file.exists()]
        if absent:
            raise ValueError(f"{absent[0]}: no such file or folder")
        raise ValueError(f"{args.first}, {args.second}: give two folders, or two results of audiocm score --json")
    _told(result, comparison_table(result), args.json)

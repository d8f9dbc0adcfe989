"""`audiocm score` and `audiocm compare`: their options, and their results as tables for a terminal."""

import argparse
import os
from dataclasses import asdict, fields, replace
from pathlib import Path

from ..checks import check_path
from ..embedders.registry import KNOWN
from ..evaluation.card_scores import write_scores
from ..evaluation.features import cache_folder
from ..evaluation.preprocessing import LOUDNESS, Preprocessing
from ..evaluation.presets import PRESETS, preset_options
from ..evaluation.provenance import describe_card, describe_counts, differences as card_differences
from ..evaluation.ranking import table_of_systems, to_markdown, write_table
from ..evaluation.result import Comparison, ScoreResult
from ..evaluation.scoring import compare, compare_files, evaluate, evaluate_systems, load_results
from ..evaluation.session import COMPONENTS, MAX_UNUSABLE, ScoreRequest
from ..files import write_json
from ..model_cards import CARD, read_model_card, score_blocks
from .loading import quiet_libraries
from .output import check_folder, check_output_file

SHOWN_OUTLIERS = 5  # in the table; the file of --json has all
EXAMPLES = """examples:
  audiocm score sounds --reference real --metrics fad,kad
  audiocm score sounds --prompts sounds/manifest.jsonl --metrics clap,alignment --embedder small-clap
  audiocm score sounds --reference real --embedder vggish:vggish-10086976.pth --metrics fad,fad-inf --json result.json
  audiocm score sounds --preset text-to-audio --reference real --prompts prompts.jsonl
  audiocm score real --embedder yamnet,aisfx --save-reference real.npz
  audiocm score mine theirs others --reference real.npz --embedder yamnet,aisfx --metrics fad --table table.md
  audiocm score sounds --reference real --metrics fd-pca --trim --loudness active_rms --band-limit 24000
  audiocm score made --reference real --embedder yamnet --metrics fad,kad --card runs/student/model
  audiocm score spoken --reference recorded --prompts texts.jsonl --metrics wer,dnsmos,speaker,prosody"""
COMPARE_EXAMPLES = """examples:
  audiocm compare mine theirs --reference real --metrics fad,kad
  audiocm compare mine.json theirs.json
  audiocm compare mine.json theirs.json others.json --table table.csv"""


def format_scores(result: ScoreResult) -> str:
    """Returns the scores, then how they were measured, warnings and outliers, one a line."""
    width = max((len(name) for name in result.scores), default=0)
    lines = [f"{name:{width}}  {score}" for name, score in result.scores.items()]
    lines += ["", *describe_card(result.card), *(f"warning: {text}" for text in result.warnings)]
    outliers = result.outliers[:SHOWN_OUTLIERS]
    return "\n".join(lines + [f"outlier: {one['file']} adds {one['share']:.3g} to {one['of']}" for one in outliers])


def format_comparison(result: Comparison) -> str:
    """Returns the scores of both results and their differences, one metric a line."""
    one, two, differences = result.first, result.second, result.differences
    names = [name for name in one.scores if name in two.scores]
    width = max((len(name) for name in names), default=0)
    lines = [f"{'':{width}}  first | second | first - second"]
    for name in names:
        difference = differences.get(name, "no paired test (compare the folders)")
        lines.append(f"{name:{width}}  {one.scores[name]} | {two.scores[name]} | {difference}")
    for side, of_side in (("first", one), ("second", two)):
        lines += ["", f"{side}: {of_side.card['generated']}, clips: {describe_counts(of_side.card)}"]
        lines += [f"warning: {text}" for text in of_side.warnings]
    apart = card_differences(one.card, two.card)
    return "\n".join([*lines, "", *describe_card(one.card), *(f"differs: {text}" for text in apart)])


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _add_scoring_options(parser: argparse.ArgumentParser, examples: str) -> None:
    from ..evaluation.registry import METRICS

    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, examples
    parser.argument_default = argparse.SUPPRESS  # what is not given takes the default of ScoreRequest or Preprocessing
    add, names = parser.add_argument, {"type": _split_names, "metavar": "NAME,..."}
    real = "real sounds to compare with, whose files pair by name; or FILE.npz of --save-reference"
    add("--reference", metavar="FOLDER", help=real)
    statistics = "write the statistics of the reference (without one, of the scored folder) under the embedders"
    add("--save-reference", metavar="FILE.npz", help=statistics)
    add("--preset", metavar="NAME", help=f"the settings of a field's tables: {', '.join(PRESETS)}")
    prompts = 'JSON lines {"file", "prompt", "labels"}, such as the manifest.jsonl of generate'
    add("--prompts", metavar="FILE", help=prompts)
    metrics = ", ".join(f"{name}:FILE" if metric.of_file else name for name, metric in METRICS.items())
    add("--metrics", **names, help=f"default fad,kad; of {metrics}")
    add("--embedder", dest="embedders", **names, help=" ".join(KNOWN.split()).replace("%", "%%"))
    add("--clap", metavar="NAME", help="CLAP of the clap metric (default small-clap)")
    add("--tokenizer", metavar="NAME", help="of a LAION .pt file, which holds none: a RoBERTa folder or hub id")
    tagger = "for kl, is, hits, alignment: yamnet (default if installed), a CLAP, or (kl, is) panns:FILE"
    add("--tagger", metavar="NAME", help=tagger)
    components = f"principal components of fd-pca and fd-halves (default {COMPONENTS}; fewer for few clips)"
    add("--components", type=int, metavar="COUNT", help=components)
    add("--loudness", choices=LOUDNESS, help="normalise the level of each clip (default as_is)")
    add("--trim", action="store_true", help="cut silence at both ends of each clip")
    bandwidth = "resample all clips to this rate first, so that their bandwidths are alike"
    add("--band-limit", type=int, metavar="RATE", help=bandwidth)
    add("--max-seconds", "--longest", type=float, metavar="SECONDS", help="truncate longer clips (default 30)")
    unusable = f"share of unusable clips that is accepted (default {MAX_UNUSABLE})"
    add("--max-unusable", "--left-out", type=float, metavar="SHARE", help=unusable)
    add("--workers", type=int, help="files read in parallel (default 2)")
    add("--resamples", "--draws", type=int, help="bootstrap resamples of set statistics (default 200)")
    add("--seed", type=int, help="of the bootstrap (default 0)")
    add("--device", help="auto, cpu, cuda, cuda:1 ... (default cpu)")
    add("--no-cache", dest="cache", action="store_const", const=None, help="compute every embedding again")
    add("--json", metavar="FILE", default=None, help="write the whole result with its card")
    add("--force", action="store_true", default=False, help="replace files that exist")
    add("--table", metavar="FILE", default=None, help="write the table of several systems as .md or .csv")


def score_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `audiocm score`."""
    parser.add_argument("generated", metavar="GENERATED", nargs="+", help="folders of sounds, one for each system")
    _add_scoring_options(parser, EXAMPLES)
    card = "write the scores into the model card (README.md) of the student that made the sounds"
    parser.add_argument("--card", metavar="FOLDER", default=None, help=card)


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `audiocm compare`."""
    parser.add_argument("first", metavar="A", help="a folder of sounds, or a result written by score --json")
    parser.add_argument("second", metavar="B", help="the same of another system")
    parser.add_argument("more", metavar="C", nargs="*", help="further systems, for a table with ranks")
    parser.add_argument("--anyway", action="store_true", help="compare results even if their cards differ")
    _add_scoring_options(parser, COMPARE_EXAMPLES)


def _given_options(args: argparse.Namespace, kind: type) -> dict:
    """Returns the options of the command line that are fields of the dataclass `kind`."""
    return {field.name: getattr(args, field.name) for field in fields(kind) if hasattr(args, field.name)}


def _build_request(args: argparse.Namespace, generated: str) -> ScoreRequest:
    steps, given = _given_options(args, Preprocessing), _given_options(args, ScoreRequest)
    preset = given.pop("preset", None)
    if "save_reference" in given and "reference" not in given and not preset:
        given = {"metrics": ()} | given  # statistics alone
    if preset:
        own = asdict(PRESETS[preset].preprocessing) if preset in PRESETS else {}
        given = preset_options(preset, **given, preprocessing=Preprocessing(**own | steps))
    else:
        given["preprocessing"] = Preprocessing(**steps)
    return ScoreRequest(**{"cache": cache_folder()} | given | {"generated": generated})


def _check_output_files(args: argparse.Namespace, systems: int) -> None:
    """Raises ValueError, before any clip is read, if a file cannot be written or has nothing to hold."""
    files = {"--json": args.json, "--table": args.table, "--save-reference": getattr(args, "save_reference", None)}
    given = {option: check_path(option, file) for option, file in files.items() if file is not None}
    if "--table" in given and systems < 2:
        raise ValueError("--table is of several systems: name their folders one after another")
    for option, suffixes in (("--table", (".md", ".csv")), ("--save-reference", (".npz",))):
        if option in given and Path(given[option]).suffix.lower() not in suffixes:
            raise ValueError(f"{option} {given[option]}: the extension must be {' or '.join(suffixes)}")
    if len({os.path.abspath(file) for file in given.values()}) < len(given):
        raise ValueError(f"{' and '.join(given)} name the same file")
    for option, file in given.items():
        check_output_file(file, args.force, option)


def _check_card(folder: str, systems: int) -> None:
    """Raises ValueError, before any clip is read, if scores cannot be written into the model card of a folder."""
    check_path("--card", folder)
    if systems > 1:
        raise ValueError("--card takes the scores of one folder of sounds: name the one that this student made")
    try:
        score_blocks(read_model_card(folder))
    except ValueError as error:
        raise ValueError(f"--card: {error}") from error
    check_folder(Path(folder), Path(folder) / CARD)


def _show_systems(results: dict[str, ScoreResult], args: argparse.Namespace) -> None:
    """Prints the table of several systems with ranks, and writes --table and --json."""
    print(to_markdown(table_of_systems(results)))
    for system, one in results.items():
        print(f"\n{system}", *describe_card(one.card), *(f"warning: {text}" for text in one.warnings), sep="\n")
    if args.table is not None:
        write_table(args.table, results)
    if args.json is not None:
        write_json(args.json, {"systems": {system: one.to_dict() for system, one in results.items()}})


def score_command(args: argparse.Namespace) -> None:
    """Runs `audiocm score`: prints a table, writes the whole result to --json, and the scores into --card."""
    _check_output_files(args, len(args.generated))
    request = _build_request(args, args.generated[0])
    if args.card is not None:
        _check_card(args.card, len(args.generated))
        if not request.metrics:
            raise ValueError("--card needs scores, and no metric is named: --metrics fad,kad for example")
    if len(args.generated) > 1:
        with quiet_libraries():
            results = evaluate_systems(request, args.generated)
        return _show_systems(results, args)
    with quiet_libraries():
        result = evaluate(request)
    print(format_scores(result))
    if args.json is not None:
        write_json(args.json, result.to_dict())
    if args.card is not None:
        write_scores(args.card, result)
        print(f"scores written: {Path(args.card) / CARD}")


def compare_command(args: argparse.Namespace) -> None:
    """Runs `audiocm compare` on two folders or two result files."""
    systems = [args.first, args.second, *args.more]
    _check_output_files(args, len(systems) if args.more else 1)
    paths = first, second, *_ = [Path(system) for system in systems]
    if missing := [path for path in paths if not path.exists()]:
        raise ValueError(f"{missing[0]}: no such file or folder")
    if args.more and all(path.is_file() for path in paths):
        return _show_systems(dict(zip(systems, load_results(paths, args.anyway), strict=True)), args)
    if args.more and all(path.is_dir() for path in paths):
        return score_command(argparse.Namespace(**vars(args) | {"generated": systems, "card": None}))
    if args.more:
        raise ValueError("name folders only, or only results of audiocm score --json")
    if first.is_file() and second.is_file():
        result = compare_files(first, second, args.anyway)
    elif first.is_dir() and second.is_dir():
        request = _build_request(args, args.first)
        with quiet_libraries():
            result = compare(request, replace(request, generated=second))
    else:
        raise ValueError(f"{first}, {second}: name two folders, or two results of audiocm score --json")
    print(format_comparison(result))
    if args.json is not None:
        write_json(args.json, result.to_dict())

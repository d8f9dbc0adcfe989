"""What editing scores on held-out recordings: filled intervals, takes, wider bands, loops, refinement.

    python -m recipes.text_to_audio.editing make --corpus data/corpus --row "teacher told what is kept, 10 steps=tta-teacher:10"
    python -m recipes.text_to_audio.editing score --corpus data/corpus

`make` writes runs/editing/ROW/CLIP.wav: one second in the middle of four of a held-out recording, made anew by each
row. `score` compares what was filled in with what stood there, and measures takes, bands, loops and refinement of
`--student`. A ridge classifier of log-mel patches, trained on recordings of the training split that another part of
the same recording was spliced into, tells seams; the level step is between the 50 ms on both sides of a seam. `make`
continues where it stopped. The teacher's rows need an accelerator or patience: `score` compares whatever rows hold more
than half of the recordings, on those that all of them have.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import torch

from audiocm.audio.io import resample
from audiocm.audio.seams import splice
from audiocm.embedders.small_clap import load_small_clap
from audiocm.embedders.tag_alignment import SentenceEncoder, TagAlignment
from audiocm.evaluation import Preprocessing
from audiocm.evaluation.provenance import card
from audiocm.metrics import frechet_score, mean_score
from audiocm.metrics.score import paired_resample, statistic_score
from audiocm.metrics.signal import log_mel_l1, log_spectral_distance
from audiocm.pipelines.filling import EditSettings
from audiocm.pipelines.sound_editor import SoundEditor
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from recipes.judges import embedders, markdown, write_results
from recipes.sounds import write_missing_sounds
from recipes.text_to_audio.editing_measures import measure_bands, measure_loops, measure_refinement, measure_takes
from recipes.text_to_audio.editing_recordings import (
    END,
    FIRST,
    RATE,
    SECONDS,
    START,
    STOP,
    WIDTH,
    before,
    kept,
    level,
    looped,
    recordings,
)
from recipes.text_to_audio.generate import parse_row
from recipes.text_to_audio.seam_classifier import SeamClassifier, auc, level_step, seam_flux

TAKES = 8  # of which one is chosen
COLUMNS = [
    "FD *",
    "CLAP",
    "alignment",
    "LSD",
    "log-mel L1",
    "seam AUC",
    "level step, dB",
    "kept exactly",
    "CLAP sim*",
    "LSD 4*",
    "rank*",
]
Row = Callable[[dict, int], np.ndarray]  # of a recording and a seed to the recording with its interval filled in


def generated(pipe: TextToAudioPipeline, entry: dict, seed: int) -> np.ndarray:
    """Returns the recording with a sound of its caption in the interval, at the level of what is kept."""
    seed_of = torch.Generator().manual_seed(seed)
    sound = pipe(entry["prompt"], float(SECONDS), generator=seed_of, output_type="np").audios[0][: len(entry["wav"])]
    sound = np.pad(sound, (0, len(entry["wav"]) - len(sound)))
    loudest = max(range(0, len(sound) - RATE, RATE // 10), key=lambda i: level(sound[i : i + STOP - FIRST]))
    made = np.roll(sound, FIRST - loudest)
    made = made * (level(kept(entry["wav"])) / max(level(made[FIRST:STOP]), 1e-6))
    return splice(entry["wav"], made.clip(-1, 1).astype(np.float32), FIRST, STOP, WIDTH)


def rows(args: argparse.Namespace, entries: list[dict]) -> dict[str, Row]:
    """Returns for each row the function of a recording and a seed that fills in its interval."""
    student = TextToAudioPipeline.from_pretrained(args.student, device=args.device)
    recordings_by_name = {entry["name"]: entry for entry in entries}

    def inpainting(pipe: TextToAudioPipeline, steps: int, told: bool = True, **settings: float) -> Row:
        editor = SoundEditor(pipe)
        editor.takes_kept &= told

        def fill(entry: dict, seed: int) -> np.ndarray:
            given = EditSettings(entry["prompt"], seed=seed, steps=steps, **settings)
            return editor.inpaint(entry["wav"], RATE, START, END, given)

        return fill

    def through_codec(wav: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            sound = torch.from_numpy(wav)[None, : SECONDS * RATE // 1024 * 1024].to(student.device)
            made = student.codec.decode(student.codec.encode(sound))[0].cpu().numpy()
        made = np.pad(made, (0, max(0, SECONDS * RATE - len(made))))[: SECONDS * RATE]
        return splice(wav, made, FIRST, STOP, WIDTH)

    one_call = inpainting(student, 1)

    @cache
    def takes(name: str, seed: int) -> list[np.ndarray]:
        return [one_call(recordings_by_name[name], seed + 1000 * k) for k in range(TAKES)]

    def best(score: Callable[[np.ndarray, dict], float]) -> Row:
        return lambda entry, seed: min(takes(entry["name"], seed), key=lambda wav: score(wav, entry))

    found = {
        "truth": lambda entry, seed: entry["wav"],
        "truth through the codec": lambda entry, seed: through_codec(entry["wav"]),
        "silence": lambda entry, seed: splice(entry["wav"], np.zeros_like(entry["wav"]), FIRST, STOP, WIDTH),
        "cross-fade of the neighbours": lambda entry, seed: looped(entry["wav"]),
        "cross-fade through the codec": lambda entry, seed: through_codec(looped(entry["wav"])),
        "the second before it": lambda entry, seed: before(entry["wav"]),
        "the second before it through the codec": lambda entry, seed: through_codec(before(entry["wav"])),
        "plain generation, student": lambda entry, seed: generated(student, entry, seed),
        "student, 1 call": one_call,
        "student, 1 call, guidance 1, temperature 0.7": inpainting(student, 1, guidance=1.0, temperature=0.7),
        "student, 4 calls": inpainting(student, 4),
    }
    for row in (parse_row(text, 0) for text in args.row):
        pipe = TextToAudioPipeline.from_pretrained(row.model, device=args.device)
        found[row.name] = inpainting(pipe, row.steps)
    teacher = TextToAudioPipeline.from_pretrained(args.teacher, device=args.device)
    return found | {
        "teacher, RePaint, 50 queries": inpainting(teacher, 25, told=False),
        f"student, of {TAKES} takes the smoothest at the seams": best(lambda wav, entry: seam_flux(wav)),
        f"student, of {TAKES} takes the nearest to the truth": best(
            lambda wav, entry: log_spectral_distance(entry["wav"][FIRST:STOP], wav[FIRST:STOP])
        ),
    }


def make(args: argparse.Namespace) -> None:
    """Writes the sounds that are missing; one that fails is left out of its row, and told."""
    entries = recordings(args.corpus, "test", args.clips)
    clips = {entry["name"]: (entry, args.seed + i) for i, entry in enumerate(entries)}
    for name, fill in rows(args, entries).items():
        write_missing_sounds(Path(args.output) / name, clips, fill, RATE)


def score_rows(args: argparse.Namespace, entries: list[dict], judges: Sequence) -> tuple[dict[str, dict], dict]:
    """Returns the rows of the table and what is to be known of the classifier of seams."""
    yamnet, aisfx, clap = judges
    tags = TagAlignment(SentenceEncoder(), yamnet.classes)
    train = recordings(args.corpus, "train", args.seam_clips)
    seams = SeamClassifier([e["wav"] for e in train], args.seed)
    truth = {e["name"]: e for e in entries}
    made = {p.name: {f.stem for f in p.glob("*.wav")} & set(truth) for p in Path(args.output).iterdir() if p.is_dir()}
    whole = {name for name, names in made.items() if len(names) > len(truth) / 2}
    common = set.intersection(*(made[name] for name in whole))  # a row is compared on what every row has made
    untouched = seams([e["wav"] for e in entries])

    def embedded(judge, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return judge.features([resample(wav, RATE, judge.sample_rate) for wav in wavs])

    table = {}
    order = ["truth", *sorted(whole - {"truth"})]
    for name in order:
        files = [f for f in sorted((Path(args.output) / name).glob("*.wav")) if f.stem in common]
        wavs = [soundfile.read(f, dtype="float32")[0] for f in files]
        own = [truth[f.stem] for f in files]
        fills, real = [w[FIRST:STOP] for w in wavs], [e["wav"][FIRST:STOP] for e in own]
        scores, prompts = [], [e["prompt"] for e in own]
        found, wanted = ([embedded(judge, part) for judge in judges] for part in (fills, real))
        if name != "truth":
            for k, judge in enumerate((yamnet, aisfx)):
                sets = found[k]["embedding"], wanted[k]["embedding"]
                scores.append(frechet_score(f"FD {judge.name}", *sets, draw=paired_resample, seed=args.seed))
        texts = clap.text_scores(found[2]["embedding"], prompts)
        columns = {"CLAP": texts, "alignment": tags(found[0]["probabilities"], prompts)}
        columns["level step, dB"] = [level_step(wav) for wav in wavs]
        if name != "truth":
            pairs = list(zip(real, fills, strict=True))
            columns["LSD"] = [log_spectral_distance(*pair) for pair in pairs]
            columns["log-mel L1"] = [log_mel_l1(*pair, RATE) for pair in pairs]
            same = [np.array_equal(kept(w), kept(e["wav"])) for w, e in zip(wavs, own, strict=True)]
            columns["kept exactly"] = np.array(same, dtype=float)
        scores += [
            mean_score(title, np.asarray(values, dtype=float), seed=args.seed) for title, values in columns.items()
        ]
        if name != "truth":
            mine = seams(wavs)
            rest = untouched[[entries.index(e) for e in own]]

            def audible(weight: np.ndarray, mine: np.ndarray = mine, rest: np.ndarray = rest) -> float:
                drawn = np.repeat(np.arange(len(weight)), weight)
                return auc(mine[drawn].ravel(), rest[drawn].ravel())

            scores.append(statistic_score("seam AUC", audible, len(own), seed=args.seed, within=(0, 1)))
        table[name] = {
            "clips": len(files),
            "refused": len(truth) - len(made[name]),
            "scores": {one.name: one.as_dict() for one in scores},
        }
    return table, {"AUC, cross-validated": seams.cross_validated, "patches": seams.patches, "recordings": len(train)}


def score(args: argparse.Namespace) -> None:
    """Writes the results file and its tables."""
    entries, judges = recordings(args.corpus, "test", args.clips), (*embedders(), load_small_clap())
    table, classifier = score_rows(args, entries, judges)
    pipe = TextToAudioPipeline.from_pretrained(args.student, device=args.device)
    editor, few = SoundEditor(pipe), entries[: args.few]
    more = {
        "takes": measure_takes(editor, few, judges[2], args.seed),
        "bands": measure_bands(editor, entries[: 2 * args.few], args.seed),
        "loops": measure_loops(editor, few, args.seed),
        "refinement": measure_refinement(pipe, [e["prompt"] for e in few], judges, args.seed),
    }
    about = card(judges, Preprocessing(), args.seed, student=args.student, teacher=args.teacher)
    about |= {"interval": [START, END], "seconds": SECONDS, "classifier of seams": classifier}
    about |= {"recordings": {e["name"]: e["source"] for e in entries}, "model device": args.device}
    path = Path(args.results)
    write_results(
        path, {"card": about, "systems": table | {k: v for rows in more.values() for k, v in rows.items()}}, COLUMNS
    )
    tables = [markdown(rows, COLUMNS, ("clips", "refused")) for rows in (table, *more.values())]
    path.with_suffix(".md").write_text("\n".join(tables), encoding="utf-8")
    print("\n".join(tables), classifier)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["make", "score"])
    parser.add_argument("--corpus", type=lambda s: s.split(","), default=["data/corpus"])
    row = "a model that fills in: NAME=MODEL[:STEPS]; may be repeated"
    parser.add_argument("--row", action="append", default=[], help=row)
    parser.add_argument("--output", default="runs/editing", help="folder of the sounds")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    defaults = {"results": "samples/editing_scores.json", "student": "tta", "teacher": "tta-teacher"}
    for name, default in (defaults | {"clips": 36, "few": 12, "seam-clips": 300, "seed": 0}).items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    args = parser.parse_args()
    try:
        {"make": make, "score": score}[args.action](args)
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")


if __name__ == "__main__":
    main()

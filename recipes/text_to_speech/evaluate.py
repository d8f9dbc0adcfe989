"""The text-to-speech table: the reference voice, its codec round trip, the teacher, the student at 1, 2 and 4 calls.

    python -m recipes.text_to_speech.evaluate speak --output runs/tts_table [--voice heart] [--systems student-1]
    python -m recipes.text_to_speech.evaluate score --output runs/tts_table --results samples/tts_scores.json

`speak` writes sounds and times, `score` runs `audiocm score` with the metrics wer, speaker, prosody and, on part of the
clips, dnsmos (extra `speech`), whose networks no training here used; both continue where they stopped. The sentences
are in no corpus. The reference is the synthesiser for the voice "heart", else the voice's held-out clips in --corpus.
Made samples/tts_scores.json on two CPU cores: one call has word errors of 7.7 % (voice 6.1, teacher 7.1 without loops), DNSMOS
3.32 (3.30, 3.22). With `--voice prompts --sentences recipes/text_to_speech/prompt_sentences.txt` it made
tts_prompts_scores.json, with comospeech.py's student tts_comospeech_scores.json.
"""

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch

from audiocm.audio.io import read_wave
from audiocm.data.speech_corpora import read_speech_corpus
from audiocm.diffusion import solvers
from audiocm.evaluation.features import cache_folder
from audiocm.evaluation.provenance import differences
from audiocm.evaluation.scoring import score
from audiocm.files import write_json, write_json_lines
from audiocm.metrics.speech import normalize_words
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline
from recipes.benchmarks.timing import Stopwatch, wall_seconds
from recipes.judges import earlier_rows, write_results

SENTENCES = Path(__file__).with_name("sentences.txt")
METRICS = ("wer", "speaker", "prosody")
COLUMNS = [
    "WER % *",
    "WER without loops % *",
    "CER % *",
    "DNSMOS overall",
    "speaker similarity *",
    "F0 Hz",
    "F0 spread st",
    "length / reference's",
]


@dataclass(frozen=True)
class System:
    """A row of the table: `steps` of `model`; model "" is the reference or, with the name "codec", its round trip."""

    name: str
    model: str
    steps: int = 0


def systems(args: argparse.Namespace) -> list[System]:
    """Returns the rows of the table, only those that `--systems` names if it is given."""
    rows = [System("voice", ""), System("codec", "")]
    rows += [System(f"teacher-{n}", args.teacher, n) for n in args.teacher_steps]
    rows += [System(f"student-{n}", args.student, n) for n in args.student_steps]
    return [row for row in rows if not args.systems or row.name in args.systems]


def system_parser(description: str, out: str, results: str, student_steps: list[int]) -> argparse.ArgumentParser:
    """Returns a parser of the options that the speech and the singing table share."""

    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("action", choices=["speak", "score"])
    parser.add_argument("--output", default=out, help="folder of the sounds")
    parser.add_argument("--results", default=results, help="results file; the table lies beside it")
    parser.add_argument("--student", default="tts", help="model name or folder")
    parser.add_argument("--teacher", default="tts-teacher", help="model name or folder")
    parser.add_argument("--teacher-steps", type=numbers, default=[50], help="calls, comma-separated")
    parser.add_argument("--student-steps", type=numbers, default=student_steps, help="calls, comma-separated")
    rows = "only these rows, of voice,codec,teacher-N,student-N"
    parser.add_argument("--systems", type=lambda text: text.split(","), default=[], help=rows)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def read_sentences(file: str | Path = SENTENCES) -> list[tuple[str, str]]:
    """Returns (kind, text) of each held-out sentence."""
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines if line.strip()]


def named_sentences(file: str | Path) -> dict[str, str]:
    """Returns the held-out sentences by the names of their sounds."""
    return {f"{i:03d}": text for i, (_, text) in enumerate(read_sentences(file))}


# --- speak ------------------------------------------------------------------------------------------------------------


def write_prompts(folder: Path, texts: dict[str, str]) -> None:
    """Writes the prompts.jsonl that `audiocm score --prompts` reads."""
    write_json_lines(folder / "prompts.jsonl", [{"file": f"{name}.flac", "text": texts[name]} for name in texts])


def write_reference(voice: str, corpus: Path, sentences: Path, folder: Path) -> None:
    """Writes the reference: the synthesiser reads the sentences, or up to 200 held-out clips of the voice."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "prompts.jsonl").exists():
        return
    if voice == "heart":
        from hibari import Hibari

        synthesize, texts = Hibari(threads=1), named_sentences(sentences)
        for name, text in texts.items():
            soundfile.write(folder / f"{name}.flac", synthesize(text, seed=int(name)), 24000)
    else:
        clips = [c for c in read_speech_corpus(corpus) if c.split == "test" and c.voice == voice][:200]
        texts = {f"clip_{i:03d}": clip.text for i, clip in enumerate(clips)}
        for name, clip in zip(texts, clips, strict=True):
            soundfile.write(folder / f"{name}.flac", read_wave(clip.path, 24000), 24000)
    write_prompts(folder, texts)


def write_round_trip(model: str, source: Path, folder: Path) -> None:
    """Writes the clips of a folder as encoded and decoded by a model's codec, with their prompts.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    codec = TextToSpeechPipeline.from_pretrained(model).codec
    for path in sorted(source.glob("*.flac")):
        wav = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
        decoded = codec.decode(codec.encode(wav[None]))[0, : len(wav)]
        soundfile.write(folder / path.name, decoded.clamp(-1, 1).numpy(), codec.sample_rate)
    (folder / "prompts.jsonl").write_bytes((source / "prompts.jsonl").read_bytes())


def speak_system(system: System, voice: str, sentences: Path, folder: Path, device: str) -> None:
    """Speaks the missing sentences by one model, one at a time, and writes its times to facts.json.

    The first sentence is spoken once before, to warm up."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = named_sentences(sentences)
    write_prompts(folder, texts)
    todo = [name for name in texts if not (folder / f"{name}.flac").exists()]
    if not todo:
        return
    pipe = TextToSpeechPipeline.from_pretrained(system.model, device=device)
    options = {"num_inference_steps": system.steps, "voice": voice if voice in pipe.voices else None}
    solver = None if pipe.is_student else solvers.euler  # one call a step, as CoMoSpeech samples its teacher
    pipe(texts[todo[0]], solver=solver, **options)
    watch, spent, length = Stopwatch(pipe.transformer), 0.0, 0.0
    for name in todo:
        started = time.perf_counter()
        out = pipe(texts[name], solver=solver, generator=torch.Generator().manual_seed(int(name)), **options)
        spent += time.perf_counter() - started
        wav = out.audios[0].numpy()
        length += len(wav) / pipe.sample_rate
        soundfile.write(folder / f"{name}.flac", wav, pipe.sample_rate)
    watch.remove()
    facts = {"real-time factor": spent / length, "decoder real-time factor": watch.seconds / length}
    facts |= {"sentences": len(todo), "calls a sentence": watch.calls / len(todo)}
    first = wall_seconds(lambda: next(iter(pipe.stream(" ".join(texts.values()), **options))))
    facts |= {"first audio of a long text, s": first, "device": device, "threads": torch.get_num_threads()}
    write_json(folder / "facts.json", facts)


def speak(args: argparse.Namespace) -> None:
    """Writes the sounds of all systems."""
    out = Path(args.output)
    for system in systems(args):
        folder = out / system.name
        if system.model:
            speak_system(system, args.voice, args.sentences, folder, args.device)
        elif system.name == "voice":
            write_reference(args.voice, args.corpus, args.sentences, folder)
        else:
            write_round_trip(args.student, out / "voice", folder)
        print(system.name, flush=True)


# --- score ------------------------------------------------------------------------------------------------------------


def score_folder(folder: Path, reference: Path, dnsmos_clips: int) -> dict:
    """Returns the result of `audiocm score` on a folder, kept there as scores.json; DNSMOS is of part of the clips."""
    file = folder / "scores.json"
    if not file.exists():
        options = {"workers": 1, "cache": cache_folder()}
        result = score(folder, reference, prompts=folder / "prompts.jsonl", metrics=METRICS, **options)
        clips = sorted(folder.glob("*.flac"))
        if chosen := clips[:: max(1, len(clips) // dnsmos_clips)][:dnsmos_clips] if dnsmos_clips else []:
            with tempfile.TemporaryDirectory() as part:
                for clip in chosen:
                    shutil.copy(clip, part)
                dnsmos = score(part, metrics=("dnsmos",), **options)
            result.scores |= dnsmos.scores
            result.warnings += dnsmos.warnings
            result.card["embedders"] |= dnsmos.card["embedders"]
        file.write_text(json.dumps(result.to_dict(), ensure_ascii=False) + "\n", encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))


def errors_by_kind(result: dict, sentences: str | Path) -> dict[str, float]:
    """Returns the word error rate in % of each kind of sentences; empty for the texts of another reference."""
    rates = next(values for name, values in result["items"].items() if name.startswith("WER % "))
    errors: dict[str, list[tuple[float, int]]] = {}
    for i, (kind, text) in enumerate(read_sentences(sentences)):
        if (name := f"{i:03d}") in rates:
            words = len(normalize_words(text).split())
            errors.setdefault(kind, []).append((rates[name] * words, words))
    return {kind: round(sum(a for a, _ in both) / sum(b for _, b in both), 2) for kind, both in errors.items()}


def score_systems(args: argparse.Namespace) -> None:
    """Writes the results file: the scores of all systems against the reference, with the card of `audiocm score`."""
    out, rows, cards = Path(args.output), {}, {}
    for system in systems(args):
        folder = out / system.name
        if not folder.is_dir():
            continue
        result = score_folder(folder, out / "voice", args.dnsmos_clips)
        row = json.loads((folder / "facts.json").read_text()) if (folder / "facts.json").exists() else {}
        row |= {"clips": result["card"]["clips"]["generated"], "scores": result["scores"]}
        rows[system.name] = row | {
            "WER % by kind": errors_by_kind(result, args.sentences),
            "warnings": result["warnings"],
        }
        own = ("clips", "left_out", "cut", "generated")
        cards[system.name] = {key: value for key, value in result["card"].items() if key not in own}
        print(system.name, {name: round(one["value"], 3) for name, one in result["scores"].items()}, flush=True)
    first = next(iter(cards.values()))
    for name, card in cards.items():
        if apart := differences(first, card):
            print(f"{name} was measured differently: {'; '.join(apart)}")
    if args.earlier:
        rows = earlier_rows(args.earlier, rows, "voice", [system.name for system in systems(args)])
    card = first | {"voice": args.voice, "sentences": str(args.sentences)}
    print(write_results(Path(args.results), {"card": card, "systems": rows}, COLUMNS))


def main() -> None:
    parser = system_parser(__doc__.splitlines()[0], "runs/tts_table", "samples/tts_scores.json", [1, 2, 4])
    parser.add_argument("--voice", default="heart", help="name of the voice")
    sentences = Path("recipes/text_to_speech/sentences.txt")
    parser.add_argument("--sentences", type=Path, default=sentences, help="lines of `kind TAB text`")
    parser.add_argument("--corpus", type=Path, default=Path("data/prompts"), help="speak: reference of another voice")
    parser.add_argument(
        "--dnsmos-clips", type=int, default=100, help="score: clips per system for DNSMOS, 5 s each on a core"
    )
    parser.add_argument("--earlier", default="", help="score: results file to take rows from whose sounds are missing")
    args = parser.parse_args()
    {"speak": speak, "score": score_systems}[args.action](args)


if __name__ == "__main__":
    main()

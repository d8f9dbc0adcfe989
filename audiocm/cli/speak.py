"""`audiocm speak`: text to an audio file, sentence by sentence, so that a book needs no more memory than a sentence."""

from __future__ import annotations

import argparse
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from . import graphs
from .loading import load_pipeline, quiet_libraries

if TYPE_CHECKING:
    from ..pipelines.text_to_speech import TextToSpeechPipeline

    Lines = list[tuple[str, list[tuple[float, float]] | None]]

EXAMPLES = """examples:
  audiocm speak "The train leaves at 5:45 p.m." -o speech.wav
  audiocm speak --file chapter.txt -o chapter.flac --speed 1.2
  audiocm speak "Is anybody there?" -o teacher.wav --model tts-teacher --steps 50
  audiocm speak "Twinkle, twinkle, little star." --notes "C4 C4 G4 G4 A4 A4 G4:2" -o star.wav
  audiocm speak --score song.txt --tempo 100 -o song.wav"""


def speak_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `audiocm speak`; None stands for the model's default."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    add = parser.add_argument
    add("text", nargs="?", metavar="TEXT", help="English text to speak")
    add("-o", "--output", required=True, metavar="FILE", help="a .wav, .flac or .ogg file")
    add("--file", metavar="FILE", help="UTF-8 text file to speak")
    add("--notes", help="sing the text, one sentence: a note and its beats per syllable, e.g. 'C4 F#4:2 Bb3:0.5'")
    add("--score", metavar="FILE", help="sing a file of lines `words | notes`")
    add("--tempo", type=float, default=120.0, help="beats per minute of the notes, 20 to 400 (default 120)")
    add("--voice", help="a voice of the model (a wrong name lists them)")
    add("--speed", type=float, default=1.0, help="speaking rate, 0.5 to 2 (default 1)")
    add("--steps", type=int, help="network calls of a student (default 1), solver steps of a teacher")
    add("--guidance", type=float, help="guidance weight: more than 1 exaggerates the text (default: the model's)")
    add("--seed", type=int, default=0, help="seed of the first line (default 0)")
    retries = "tries with other seeds for a sentence that is silent, clipped or not finite; then silence stands for it"
    add("--retries", type=int, default=3, help=f"{retries}, and the exit code is 3 (default 3)")
    add("--model", default="tts", help="tts (one network call), tts-teacher, a folder or a hub id (default tts)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default auto)")
    add("--backend", choices=graphs.BACKENDS, default="torch", help=graphs.HELP)


def requested_lines(args: argparse.Namespace) -> Lines:
    """Returns the texts to speak, and the notes (pitch, seconds) of those to sing. Raises ValueError for wrong
    options."""
    from ..files import read_text
    from ..speech.phonemes import validate_text
    from ..speech.singing import check_notes, read_notes, read_score

    if bool(args.text) + bool(args.file) + bool(args.score) > 1:
        raise ValueError("give a text, --file or --score, not both")
    if not 20 <= args.tempo <= 400:
        raise ValueError(f"--tempo must lie between 20 and 400 beats per minute, not {args.tempo:g}")
    if args.score:
        if args.notes is not None:
            raise ValueError("--notes go with a text; a score has its own")
        return read_score(read_text(args.score, "text"), args.tempo)
    text = read_text(args.file, "text") if args.file else args.text or ""
    validate_text(text)
    if args.notes is None:
        return [(text, None)]
    notes = read_notes(args.notes, args.tempo)
    check_notes(text, notes)
    return [(text, notes)]


def speak_command(args: argparse.Namespace) -> int:
    """Runs `audiocm speak` and returns its exit code, 3 if some sentences are missing.

    Raises ValueError for wrong options, before the model is loaded if that is possible."""
    from .output import SOUNDS_MISSING, Destination, report_missing

    if not 0 <= args.seed < 2**62:
        raise ValueError(f"--seed must lie between 0 and 2^62, not {args.seed}")
    if args.retries < 0:
        raise ValueError(f"--retries must be at least 0, not {args.retries}")
    if Destination(args.output, 1).is_folder:
        raise ValueError(f"cannot write {args.output}: the extension must be .wav, .flac or .ogg")
    with quiet_libraries():
        lines = requested_lines(args)
        if args.backend != "torch":
            return graphs.speak_with_graphs(args, lines)
        pipe = load_pipeline(args.model, args.device, "TextToSpeechPipeline")
        start = time.perf_counter()
        missing: list[tuple[str, str, str]] = []
        try:
            seconds, first, count = _speak(pipe, lines, args, missing)
        finally:
            for one in missing:
                report_missing("speech", *one)
    if len(missing) == count:
        return SOUNDS_MISSING
    elapsed = time.perf_counter() - start
    sentences = f"{count} sentences, " if count > 1 else ""
    speed = f"{elapsed:.1f} s ({elapsed / seconds:.3f} of real time), first audio after {first:.2f} s"
    print(f"{args.output}: {sentences}{seconds:.1f} s of speech in {speed}")
    return SOUNDS_MISSING if missing else 0


def _speak(
    pipe: TextToSpeechPipeline, lines: Lines, args: argparse.Namespace, missing: list[tuple[str, str, str]]
) -> tuple[float, float, int]:
    """Writes the speech; returns its seconds, the seconds until the first sentence was ready, and the number of
    sentences.

    Adds to `missing` the text, the seed and the fault of each sentence that failed. Without any other no file is
    written."""
    import torch
    from tqdm import tqdm

    from ..audio.io import open_wave_writer
    from ..pipelines.failures import AudioError

    start, first, samples, count = time.perf_counter(), 0.0, 0, 0
    letters = sum(len(text) for text, _ in lines)
    options = (args.steps, args.speed, args.voice, args.guidance)
    pause = torch.zeros(0)  # after the sentence before; that after the last one is not written
    bar = tqdm(total=letters, unit="letter", disable=letters < 500)
    with bar, suppress(AudioError), open_wave_writer(args.output, pipe.sample_rate) as append:
        for i, (text, notes) in enumerate(lines):
            seed = args.seed + i
            generator = torch.Generator().manual_seed(seed)
            for spoken in pipe.stream(text, *options, generator, notes, args.retries, "return"):
                if failed := spoken.failure:
                    missing.append((failed.prompt, f"seed {seed}, seeds tried: {len(failed.seeds)}", failed.reason))
                first = first or time.perf_counter() - start
                end = len(spoken.audio) - round(spoken.sentence.pause * pipe.sample_rate)
                sound = torch.cat([pause, spoken.audio[:end]])
                append(sound.numpy())
                pause, count, samples = spoken.audio[end:], count + 1, samples + len(sound)
                bar.update(min(len(spoken.sentence.text) + 1, letters - bar.n))
        if len(missing) == count:
            raise AudioError("no sentence could be spoken")
    return samples / pipe.sample_rate, first, count

"""`audiocm speak`: text or a text file to a sound file, sentence by sentence, so that a book needs no more memory than a line."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from .loading import load_pipeline, quiet_libraries

EXAMPLES = """examples:
  audiocm speak "The train leaves at 5:45 p.m." -o speech.wav
  audiocm speak --file chapter.txt -o chapter.flac --speed 1.2
  audiocm speak "Is anybody there?" -o teacher.wav --model tts-teacher --steps 50
  audiocm speak "Twinkle, twinkle, little star." --notes "C4 C4 G4 G4 A4 A4 G4:2" -o star.wav
  audiocm speak --score song.txt --tempo 100 -o song.wav"""


def speak_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `audiocm speak`; None: what the model says."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    add = parser.add_argument
    add("text", nargs="?", metavar="TEXT", help="what should be spoken, in English")
    add("-o", "--output", required=True, metavar="FILE", help="a .wav, .flac or .ogg file")
    add("--file", metavar="FILE", help="speak this text file (UTF-8)")
    add("--notes", help="sing the one sentence: a note with its beats for each syllable, e.g. 'C4 F#4:2 Bb3:0.5'")
    add("--score", metavar="FILE", help="sing this file: lines of `words | notes`")
    add("--tempo", type=float, default=120.0, help="beats a minute, 20 to 400, default 120")
    add("--voice", help="a voice of the model (a wrong name lists them)")
    add("--speed", type=float, default=1.0, help="0.5 (slow) to 2 (fast), default 1")
    add("--steps", type=int, help="network calls of a student (default 1), solver steps of a teacher")
    add("--guidance", type=float, help="more than 1 exaggerates (default: the model's)")
    add("--seed", type=int, default=0, help="default 0")
    add("--model", default="tts", help="tts (one call), tts-teacher, a folder or a hub id (default tts)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default auto)")


def read_text(file: str) -> str:
    """A UTF-8 file as text. ValueError when it cannot be read."""
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"cannot read the text file {file}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}"
        ) from error


def requested_sentences(args: argparse.Namespace) -> list[tuple[str, list[tuple[float, float]] | None]]:
    """What to speak, or to sing with its notes. ValueError says in one line what is wrong with it."""
    from ..speech.phonemes import validate_text
    from ..speech.singing import check_notes, read_notes, read_score

    if bool(args.text) + bool(args.file) + bool(args.score) > 1:
        raise ValueError("give a text, --file or --score, not both")
    if not 20 <= args.tempo <= 400:
        raise ValueError(f"--tempo must lie between 20 and 400 beats a minute, not {args.tempo:g}")
    if args.score:
        if args.notes is not None:
            raise ValueError("--notes go with a text; a score has its own")
        return read_score(read_text(args.score), args.tempo)
    text = read_text(args.file) if args.file else args.text or ""
    validate_text(text)
    if args.notes is None:
        return [(text, None)]
    notes = read_notes(args.notes, args.tempo)
    check_notes(text, notes)
    return [(text, notes)]


def speak_command(args: argparse.Namespace) -> None:
    """Check what is cheap to check, load the model, check the rest, speak and write sentence by sentence."""
    from .output import Destination

    if not 0 <= args.seed < 2**62:
        raise ValueError(f"--seed must lie between 0 and 2^62, not {args.seed}")
    if Destination(args.output, 1).is_folder:
        raise ValueError(f"cannot write {args.output}: the extension must be .wav, .flac or .ogg")
    with quiet_libraries():
        told = requested_sentences(args)  # what is wrong is told before the model is loaded
        pipe = load_pipeline(args.model, args.device, "TextToSpeechPipeline")
        begun = time.perf_counter()
        seconds, first, count = _speak(pipe, told, args)
    spent = time.perf_counter() - begun
    many = f"{count} sentences, " if count > 1 else ""
    print(
        f"{args.output}: {many}{seconds:.1f} s of speech in {spent:.1f} s ({spent / seconds:.3f} of real time), first audio after {first:.2f} s"
    )


def _speak(pipe, told: list[tuple[str, list | None]], args: argparse.Namespace) -> tuple[float, float, int]:
    """Seconds of speech, seconds until the first sentence was there, number of sentences."""
    import torch
    from tqdm import tqdm

    from ..audio.io import open_sound_file

    begun, first, samples, count = time.perf_counter(), 0.0, 0, 0
    letters = sum(len(words) for words, _ in told)
    bar = tqdm(total=letters, unit="letter", disable=letters < 500)
    options = (args.steps, args.speed, args.voice, args.guidance)
    spoken = (
        piece
        for line, (words, notes) in enumerate(told)
        for piece in pipe.stream(words, *options, torch.Generator().manual_seed(args.seed + line), notes)
    )
    with open_sound_file(args.output, pipe.sample_rate) as append:
        held = None
        for piece in spoken:
            first = first or time.perf_counter() - begun
            if held is not None:
                append(held.audio.numpy())
            held, count, samples = piece, count + 1, samples + len(piece.audio)
            bar.update(min(len(piece.sentence.text) + 1, letters - bar.n))
        end = len(held.audio) - round(held.sentence.pause * pipe.sample_rate)
        append(held.audio[:end].numpy())  # no pause after the last
    bar.close()
    return (samples - len(held.audio) + end) / pipe.sample_rate, first, count

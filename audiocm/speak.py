"""`audiocm speak`: text or a text file to a sound file, sentence by sentence, so that a book needs no more memory than a line."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from .cli import load_pipeline, quiet

EXAMPLES = """examples:
  audiocm speak "The train leaves at 5:45 p.m." -o speech.wav
  audiocm speak --file chapter.txt -o chapter.flac --speed 1.2
  audiocm speak "Is anybody there?" -o teacher.wav --model tts-teacher --steps 50"""


def speak_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `audiocm speak`; None: what the model says."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    add = parser.add_argument
    add("text", nargs="?", metavar="TEXT", help="what should be spoken, in English")
    add("-o", "--output", required=True, metavar="FILE", help="a .wav, .flac or .ogg file")
    add("--file", metavar="FILE", help="speak this text file (UTF-8)")
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


def speak_command(args: argparse.Namespace) -> None:
    """Check what is cheap to check, load the model, check the rest, speak and write sentence by sentence."""
    from .phonemes import check
    from .sounds import Destination

    if args.text and args.file:
        raise ValueError("give a text or --file, not both")
    text = read_text(args.file) if args.file else args.text or ""
    if not 0 <= args.seed < 2**62:
        raise ValueError(f"--seed must lie between 0 and 2^62, not {args.seed}")
    if Destination(args.output, 1).is_folder:
        raise ValueError(f"cannot write {args.output}: the extension must be .wav, .flac or .ogg")
    with quiet():
        check(text)  # a wrong text is told before the model is loaded
        pipe = load_pipeline(args.model, args.device, "TextToSpeechPipeline")
        begun = time.perf_counter()
        seconds, first, count = _speak(pipe, text, args)
    spent = time.perf_counter() - begun
    many = f"{count} sentences, " if count > 1 else ""
    print(
        f"{args.output}: {many}{seconds:.1f} s of speech in {spent:.1f} s ({spent / seconds:.3f} of real time), first audio after {first:.2f} s"
    )


def _speak(pipe, text: str, args: argparse.Namespace) -> tuple[float, float, int]:
    """Seconds of speech, seconds until the first sentence was there, number of sentences."""
    import torch
    from tqdm import tqdm

    from .sounds import sound_file

    begun, first, samples, count = time.perf_counter(), 0.0, 0, 0
    options = (args.steps, args.speed, args.voice, args.guidance, torch.Generator().manual_seed(args.seed))
    bar = tqdm(total=len(text), unit="letter", disable=len(text) < 500)
    spoken = pipe.stream(text, *options)
    with sound_file(args.output, pipe.sample_rate) as append:
        held = None
        for piece in spoken:
            first = first or time.perf_counter() - begun
            if held is not None:
                append(held.audio.numpy())
            held, count, samples = piece, count + 1, samples + len(piece.audio)
            bar.update(min(len(piece.sentence.text) + 1, len(text) - bar.n))
        end = len(held.audio) - round(held.sentence.pause * pipe.sample_rate)
        append(held.audio[:end].numpy())  # no pause after the last
    bar.close()
    return (samples - len(held.audio) + end) / pipe.sample_rate, first, count

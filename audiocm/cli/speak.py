"""`audiocm speak`: text to a sound file or a pipe, sentence by sentence, so that a book needs no more memory than a
paragraph."""

from __future__ import annotations

import argparse
import codecs
import os
import stat
import sys
import time
from contextlib import ExitStack, nullcontext, redirect_stdout, suppress
from typing import TYPE_CHECKING

from ..audio.streams import FORMATS, PipeClosedError, is_pipe, open_sound_stream, stream_format
from ..checks import check_whole
from . import graphs
from .loading import load_pipeline, quiet_libraries, utf8_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ..text.pronunciation import Lexicon

    Notes = list[tuple[float, float]]
    Lines = list[tuple[str | Iterable[str], Notes | None]]
    Stream = Callable[[str | Iterable[str], int, Notes | None], Iterator[Any]]

MAX_RETRIES = 1000
BROKEN_PIPE = 141  # exit code: nobody reads the sound any more, as of other programs in a pipe
CHECKED = 4_000_000  # bytes of a text file that is read at once, and checked before anything is spoken
BLOCK = 65_536  # bytes that are read at once of a longer one, and of standard input
EXAMPLES = """examples:
  audiocm speak "The train leaves at 5:45 p.m." -o speech.wav
  audiocm speak --file chapter.txt -o chapter.mp3 --speed 1.2 --times chapter.srt
  audiocm speak "Xochitl is here." --lexicon names.txt -o names.opus
  echo "It's 5:45 p.m." | audiocm speak --file - -o - | aplay
  audiocm speak --file book.txt -o - --format pcm | ffplay -f s16le -ar 24000 -i -
  audiocm speak '<speak>One.<break time="1s"/> <prosody rate="slow">Two.</prosody></speak>' -o ssml.wav
  audiocm speak "Is anybody there?" -o teacher.wav --model tts-teacher --steps 50
  audiocm speak "Twinkle, twinkle, little star." --notes "C4 C4 G4 G4 A4 A4 G4:2" -o star.wav
  audiocm speak --score song.txt --tempo 100 -o song.wav

A text may hold pauses, [pause 0.5s], and SSML: speak, p, s, break, prosody rate, say-as, phoneme and sub. A lexicon has
lines "word = /IPA/" or "word = re-SPEL-ling". exit codes: 0 done, 2 wrong input, 3 some sentences are missing, 141 the
reader of a pipe went away, 143 ended by SIGTERM."""


class _NothingSpokenError(Exception):
    """Every sentence failed."""


def speak_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `audiocm speak`; None stands for the model's default."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    add = parser.add_argument
    add("text", nargs="?", metavar="TEXT", type=utf8_text, help="English text to speak")
    names = ", ".join(FORMATS)
    add("-o", "--output", required=True, metavar="FILE", help=f"a file ({names}), or - to write to standard output")
    add("--format", choices=FORMATS, help="default: by the extension; wav for -. pcm: 16 bits, no header")
    add("--force", action="store_true", help="replace files that exist")
    add("--file", metavar="FILE", help="UTF-8 text file to speak, - for standard input")
    add("--ssml", action="store_true", help="the text is SSML, though it does not begin with <speak>")
    add("--lexicon", metavar="FILE", help="file of your own words and how they are read")
    add("--times", metavar="FILE", help="write the times of the words: .json (phonemes too), .srt or .vtt")
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
    add("--backend", choices=graphs.BACKENDS, default="auto", help=graphs.HELP)


def read_blocks(file: str) -> Iterator[str]:
    """Yields the text of a UTF-8 file, or of standard input ("-"), as it comes. Raises ValueError if it cannot be read."""
    name = "standard input" if file == "-" else f"the text file {file}"
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        with nullcontext(sys.stdin.buffer) if file == "-" else open(file, "rb") as source:
            while data := source.read1(BLOCK):
                yield decoder.decode(data)
            yield decoder.decode(b"", final=True)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {name}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}") from error


def as_ssml(blocks: Iterable[str]) -> Iterator[str]:
    """Yields a text that is SSML with <speak> around it, if it does not begin with it."""
    blocks = iter(blocks)
    start = ""
    while len(start.lstrip()) < len("<speak") and (block := next(blocks, None)) is not None:
        start += block
    is_whole = start.lstrip().startswith(("<speak", "<?xml"))
    yield start if is_whole else f"<speak>{start}"
    yield from blocks
    yield "" if is_whole else "</speak>"


def requested_lines(args: argparse.Namespace, lexicon: Lexicon | None) -> Lines:
    """Returns the texts to speak, and the notes (pitch, seconds) of those to sing; a long file, and standard input, in
    blocks. Raises ValueError for wrong options, and for a text that cannot be spoken."""
    from ..files import read_text
    from ..speech.singing import check_notes, read_notes, read_score
    from ..text.reading import validate_text

    if bool(args.text) + bool(args.file) + bool(args.score) > 1:
        raise ValueError("give a text, --file or --score, not both")
    if not 20 <= args.tempo <= 400:
        raise ValueError(f"--tempo must lie between 20 and 400 beats per minute, not {args.tempo:g}")
    if args.score:
        if args.notes is not None or args.ssml:
            raise ValueError(f"{'--ssml goes' if args.ssml else '--notes go'} with a text; a score has its own")
        return read_score(read_text(args.score, "text"), args.tempo, lexicon)
    if args.file and (args.file == "-" or _is_long(args.file)):
        if args.notes is None:
            blocks = read_blocks(args.file)
            return [(as_ssml(blocks) if args.ssml else blocks, None)]
        text = "".join(read_blocks(args.file))
    else:
        text = read_text(args.file, "text") if args.file else args.text or ""
    if args.ssml and text.strip():
        text = "".join(as_ssml([text]))
    validate_text(text)
    if args.notes is None:
        return [(text, None)]
    notes = read_notes(args.notes, args.tempo)
    check_notes(text, notes, lexicon)
    return [(text, notes)]


def _is_long(file: str) -> bool:
    """Whether a text file is read in blocks: one of more than CHECKED bytes, or a pipe."""
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return False
    return found.st_size > CHECKED or stat.S_ISFIFO(found.st_mode) or stat.S_ISCHR(found.st_mode)


def _check_destinations(args: argparse.Namespace) -> None:
    """Raises ValueError, before anything is loaded, if the sound or the times cannot be written."""
    from ..speech.subtitles import times_format
    from .output import check_output_file

    if args.output in ("/dev/stdout", "/dev/fd/1"):
        args.output = "-"
    stream_format(args.output, args.format)
    if args.output == "-" and sys.stdout.isatty():
        raise ValueError("standard output is a terminal: pipe the sound to a player, or name a file")
    files = {} if is_pipe(args.output) else {"--output": args.output}
    if args.times is not None:
        times_format(args.times)
        files["--times"] = args.times
    if len({os.path.abspath(file) for file in files.values()}) < len(files):
        raise ValueError("--output and --times name the same file")
    for option, file in files.items():
        check_output_file(file, args.force, option)


def speak_command(args: argparse.Namespace) -> int:
    """Runs `audiocm speak` and returns its exit code: 3 if some sentences are missing, 141 if a pipe is read no more.

    Raises ValueError for wrong options, before the model is loaded if that is possible."""
    from ..text.pronunciation import Lexicon
    from .output import SOUNDS_MISSING, report_missing

    check_whole("--seed", args.seed, least=0, below=2**62)
    check_whole("--retries", args.retries, least=0, most=MAX_RETRIES)
    _check_destinations(args)
    with quiet_libraries(), redirect_stdout(sys.stderr) if args.output == "-" else nullcontext():
        lexicon = None if args.lexicon is None else Lexicon.read(args.lexicon)
        lines = requested_lines(args, lexicon)
        stream, sample_rate = _load_voice(args, lexicon)
        start = time.perf_counter()
        missing: list[tuple[str, str, str]] = []
        try:
            seconds, first, count = _speak(stream, sample_rate, lines, args, missing)
        except PipeClosedError:
            return BROKEN_PIPE
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


def _load_voice(args: argparse.Namespace, lexicon: Lexicon | None) -> tuple[Stream, int]:
    """Returns what yields the sentences of a text, a seed and notes or None, and the rate of their sounds in Hz."""
    common = (args.retries, "return", lexicon)
    exported = graphs.load_speech(args)
    if exported is not None:
        options = (args.speed, args.voice, args.guidance)
        return lambda text, seed, notes: exported.stream(text, *options, seed, notes, *common), exported.sample_rate
    pipe = load_pipeline(args.model, args.device, "TextToSpeechSampler")

    def stream(text: str | Iterable[str], seed: int, notes: Notes | None) -> Iterator[Any]:
        import torch

        options = (args.steps, args.speed, args.voice, args.guidance, torch.Generator().manual_seed(seed))
        return pipe.stream(text, *options, notes, *common)

    return stream, pipe.sample_rate


def _bar(letters: int) -> Any:
    """Returns a progress bar of a text, of unknown length for 0; it costs an import that short texts do without."""
    from tqdm import tqdm

    return tqdm(total=letters or None, unit="letter", disable=False if letters else None)


def _speak(
    stream: Stream,
    sample_rate: int,
    lines: Lines,
    args: argparse.Namespace,
    missing: list[tuple[str, str, str]],
) -> tuple[float, float, int]:
    """Writes the speech; returns its seconds, the seconds until the first sentence was written, and the number of
    sentences.

    Adds to `missing` the text, the seed and the fault of each sentence that failed. Without any other no file is
    written."""
    import numpy as np

    from ..speech.subtitles import open_times_writer
    from ..speech.times import shift_times
    from ..text.reading import PARAGRAPH_PAUSE

    start, first, samples, count = time.perf_counter(), 0.0, 0, 0
    letters = sum(len(text) for text, _ in lines if isinstance(text, str))
    gap = round(PARAGRAPH_PAUSE * sample_rate)
    spoken_lines = [stream(text, args.seed + i, notes) for i, (text, notes) in enumerate(lines)]  # checks the options
    with ExitStack() as stack:
        stack.enter_context(suppress(_NothingSpokenError))
        bar = stack.enter_context(_bar(letters)) if letters >= 500 or not letters else None
        append = stack.enter_context(open_sound_stream(args.output, sample_rate, args.format))
        add_times = stack.enter_context(open_times_writer(args.times)) if args.times else None
        for i, sentences in enumerate(spoken_lines):
            if i:  # a line of a score after another
                append(np.zeros(gap, np.float32))
                samples += gap
            seed, before, pause = args.seed + i, samples / sample_rate, gap / sample_rate if i else 0.0
            for spoken in sentences:
                if failed := spoken.failure:
                    missing.append((failed.prompt, f"seed {seed}, seeds tried: {len(failed.seeds)}", failed.reason))
                append(np.asarray(spoken.audio))
                if add_times:
                    add_times(shift_times(spoken.times, before, pause))
                first, pause = first or time.perf_counter() - start, 0.0
                count, samples = count + 1, samples + len(spoken.audio)
                if bar is not None:
                    read = len(spoken.sentence.text)
                    bar.update(min(read + 1, letters - bar.n) if letters else read)
        if len(missing) == count:
            raise _NothingSpokenError
    return samples / sample_rate, first, count

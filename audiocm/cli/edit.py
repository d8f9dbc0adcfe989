"""`audiocm edit`: a file of sound or speech to another one, of which a part is made anew."""

from __future__ import annotations

import argparse
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from .loading import load_pipeline, quiet_libraries

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from ..pipelines.filling import EditSettings
    from ..pipelines.sound_editor import SoundEditor
    from ..pipelines.speech_editor import SpeechEditor

EXAMPLES = """examples:
  audiocm edit door.wav -o out.wav --inpaint 1.2:2.0 --prompt "a door slams"
  audiocm edit door.wav -o out.wav --inpaint 1.2:2.0 --inpaint 3:3.5
  audiocm edit dog.wav -o out.wav --continue 3 --prompt "a dog barks"
  audiocm edit rain.wav -o out.wav --vary 0.4
  audiocm edit rain.wav -o out.wav --strength 0.6 --prompt "heavy rain on a roof"
  audiocm edit old.wav -o out.wav --extend-bandwidth 4000
  audiocm edit mono.wav -o out.wav --stereo
  audiocm edit speech.wav -o out.wav --text "Meet me on Friday at the station." --words 4:4
  audiocm edit speech.wav -o out.wav --continue --said "Meet me on Monday." --text "And bring the keys."

Speech: --text is all that the result says, and --words names the words of it, counted from 1, that are said anew; the
others are the recording's, at most 17 seconds. With --continue the text is said after the recording.

Files of any rate, length and number of channels; the result has the input's rate, channels and sample format. What is
not edited is the input's own samples, outside a cross-fade of 20 ms on each side of what was made."""


def edit_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `audiocm edit`; None stands for the model's default."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    add = parser.add_argument
    add("input", metavar="FILE", help="the sound to edit")
    add("-o", "--output", required=True, metavar="FILE", help="a .wav, .flac or .ogg file")
    add("--force", action="store_true", help="replace a file that exists")
    add("--inpaint", action="append", metavar="START:END", help="make the sound between these seconds anew; repeatable")
    after = {"dest": "after", "type": float, "nargs": "?", "const": True, "metavar": "SECONDS"}
    add("--continue", **after, help="continue the sound; speech by --text, without SECONDS")
    add("--before", type=float, metavar="SECONDS", help="let the sound begin earlier")
    add("--vary", type=float, metavar="AMOUNT", help="another take: 0 the sound itself, 1 nothing of it")
    add("--strength", type=float, metavar="AMOUNT", help="change the sound to --prompt: 0 not at all, 1 wholly")
    add("--extend-bandwidth", type=float, metavar="HZ", help="make up what lies above this frequency")
    add("--stereo", action="store_true", help="make a mono sound stereo")
    add("--text", help="of speech: what the result says, or with --continue what is said after the recording")
    add("--words", metavar="FIRST:LAST", help="the words of --text, counted from 1, that are said anew: 3:4, or 3")
    add("--said", metavar="TEXT", help="with --continue: what the recording says, so that its tempo and tone go on")
    add("--voice", help="of speech: the model's voice (default: the one most like the recording)")
    add("--prompt", help="what is to be heard (default: whatever fits the sound)")
    add("--steps", type=int, help="network calls (default: 1, of a teacher 25)")
    add("--guidance", type=float, help="classifier-free guidance (default: the model's)")
    add("--temperature", type=float, help="standard deviation of the noise (default: the model's)")
    add("--seed", type=int, default=0, help="seed (default 0); another one makes another take")
    add("--retries", type=int, default=3, help="tries with other seeds for a sound that fails (default 3)")
    add("--model", help="tta, tta-teacher, of speech tts, tts-teacher, a folder or a hub id (default tta or tts)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default auto)")


def parse_interval(text: str) -> tuple[float, float]:
    """Returns the two numbers of "START:END" in seconds. Raises ValueError if they are not two numbers."""
    try:
        start, end = (float(part) for part in text.split(":"))
    except ValueError:
        raise ValueError(f"--inpaint takes two numbers of seconds START:END, as 1.2:2.0, not {text!r}") from None
    return start, end


def parse_words(text: str) -> tuple[int, int]:
    """Returns the two numbers of "FIRST:LAST", or of "N" twice. Raises ValueError if they are not whole numbers."""
    try:
        first, last = (int(part) for part in (text.split(":") if ":" in text else (text, text)))
    except ValueError:
        raise ValueError(f"--words takes two whole numbers FIRST:LAST, as 3:4, or one, not {text!r}") from None
    return first, last


def check_sound_options(args: argparse.Namespace) -> None:
    """Checks the options of an edit of a sound, and parses them. Raises ValueError if one is wrong."""
    for name in ("words", "said", "voice"):
        if getattr(args, name) is not None:
            raise ValueError(f"--{name} is for speech: give --text, what is to be said")
    edits = {
        "--inpaint": args.inpaint is not None,
        "--continue and --before": (args.after, args.before) != (None, None),
        "--vary": args.vary is not None,
        "--strength": args.strength is not None,
        "--extend-bandwidth": args.extend_bandwidth is not None,
        "--stereo": args.stereo,
    }
    if sum(edits.values()) != 1:
        given = [name for name, is_given in edits.items() if is_given]
        raise ValueError(f"give one of {', '.join(edits)}" + (f", not {' with '.join(given)}" if given else ""))
    for name, amount in (("--vary", args.vary), ("--strength", args.strength)):
        if amount is not None and not 0 <= amount <= 1:
            raise ValueError(f"{name} must lie between 0, the sound itself, and 1, nothing of it, not {amount:g}")
    if args.strength is not None and not (args.prompt or "").strip():
        raise ValueError("--strength changes a sound to --prompt: give one, or --vary for another take")
    if args.inpaint is not None:
        args.inpaint = [parse_interval(one) for one in args.inpaint]
    if args.after is True:
        raise ValueError("--continue takes the seconds of a sound, as --continue 3, or --text for speech")


def check_speech_options(args: argparse.Namespace) -> None:
    """Checks the options of an edit of speech, and parses them. Raises ValueError if one is wrong."""
    from ..pipelines.speech_plan import check_words
    from ..text.reading import validate_text

    others = ("inpaint", "before", "vary", "strength", "extend_bandwidth", "prompt")
    given = [name for name in others if getattr(args, name) is not None] + ["stereo"] * args.stereo
    if given:
        raise ValueError(f"--text edits speech: leave --{given[0].replace('_', '-')} out")
    if (args.words is None) == (args.after is None):
        raise ValueError("with --text give either --words FIRST:LAST, or --continue to say it after the recording")
    if args.after not in (None, True):
        raise ValueError("--continue with --text takes no seconds: the text lasts as long as it is said")
    if args.said is not None and args.words is not None:
        raise ValueError("--said is for --continue: with --words the text says what is kept")
    for text in filter(None.__ne__, (args.text, args.said)):
        validate_text(text)
    if args.words is not None:
        args.words = check_words(args.text, parse_words(args.words))


def edit_command(args: argparse.Namespace) -> None:
    """Runs `audiocm edit`. Raises ValueError for wrong options, before the model is loaded if that is possible."""
    import numpy as np

    from ..audio.io import UnusableClipError, file_format
    from ..audio.originals import open_original_writer, read_original
    from .output import check_output_file

    is_speech = args.text is not None
    (check_speech_options if is_speech else check_sound_options)(args)
    args.model = args.model or ("tts" if is_speech else "tta")
    file_format(args.output)
    if Path(args.output).absolute() == Path(args.input).absolute():
        raise ValueError(f"{args.output} is the input itself: give another file")
    check_output_file(args.output, args.force)
    try:
        wav, rate, subtype = read_original(args.input)
    except UnusableClipError as error:
        raise ValueError(f"{args.input} cannot be read: {error.detail}") from error
    with quiet_libraries():
        start = time.perf_counter()
        from ..pipelines.filling import EditSettings, check_sound
        from ..pipelines.sound_editor import SoundEditor
        from ..pipelines.speech_editor import SpeechEditor

        check_sound(wav)
        names = ("prompt", "seed", "guidance", "temperature")
        settings = EditSettings(
            **{name: getattr(args, name) for name in names}, steps=args.steps, max_retries=args.retries
        )
        if is_speech:
            editor = SpeechEditor(load_pipeline(args.model, args.device, "TextToSpeechSampler"))
            parts, out_rate = iter([_edit_speech(editor, wav, rate, settings, args)]), rate
        else:
            editor = SoundEditor(load_pipeline(args.model, args.device))
            parts, out_rate = _edit(editor, wav, rate, settings, args)
        first, samples = next(parts), 0
        with open_original_writer(args.output, out_rate, np.size(first[0]), subtype) as append:
            for part in chain([first], parts):
                append(part)
                samples += len(part)
    elapsed = time.perf_counter() - start
    print(f"{args.output}: {samples / out_rate:.2f} s of sound in {elapsed:.1f} s, model {args.model}")


def _edit_speech(
    editor: SpeechEditor, wav: np.ndarray, rate: int, settings: EditSettings, args: argparse.Namespace
) -> np.ndarray:
    """Returns the edited recording."""
    if args.words is not None:
        return editor.replace_words(wav, rate, args.text, args.words, args.voice, settings)
    return editor.extend(wav, rate, args.text, args.said, args.voice, settings)


def _edit(
    editor: SoundEditor, wav: np.ndarray, rate: int, settings: EditSettings, args: argparse.Namespace
) -> tuple[Iterator[np.ndarray], int]:
    """Returns the edited sound in parts, and its rate in Hz."""
    if (args.after, args.before) != (None, None):
        return editor.stream_extended(wav, rate, args.after or 0.0, args.before or 0.0, settings), rate
    out_rate = rate
    if args.inpaint is not None:
        edited = editor.inpaint_intervals(wav, rate, args.inpaint, settings)
    elif args.stereo:
        edited = editor.widen(wav, rate, settings=settings)
    elif args.extend_bandwidth is not None:
        edited = editor.extend_bandwidth(wav, rate, args.extend_bandwidth, settings)
        out_rate = max(rate, editor.pipe.sample_rate)
    else:
        edited = editor.transform(wav, rate, args.vary if args.strength is None else args.strength, settings)
    return iter([edited]), out_rate

"""`audiocm edit`: a sound file to another one, of which a part is made anew."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .loading import load_pipeline, quiet_libraries

if TYPE_CHECKING:
    import numpy as np

    from ..pipelines.sound_editor import EditSettings, SoundEditor

EXAMPLES = """examples:
  audiocm edit door.wav -o out.wav --inpaint 1.2:2.0 --prompt "a door slams"
  audiocm edit dog.wav -o out.wav --continue 3 --prompt "a dog barks"
  audiocm edit rain.wav -o out.wav --vary 0.4
  audiocm edit rain.wav -o out.wav --strength 0.6 --prompt "heavy rain on a roof"
  audiocm edit old.wav -o out.wav --extend-bandwidth 4000
  audiocm edit mono.wav -o out.wav --stereo

Files of any rate, length and number of channels; the result has the input's rate, channels and sample format. What is
not edited is the input's own samples, outside a cross-fade of 20 ms on each side of what was made."""


def edit_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `audiocm edit`; None stands for the model's default."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    add = parser.add_argument
    add("input", metavar="FILE", help="the sound to edit")
    add("-o", "--output", required=True, metavar="FILE", help="a .wav, .flac or .ogg file")
    add("--force", action="store_true", help="replace a file that exists")
    add("--inpaint", metavar="START:END", help="make the sound between these seconds anew")
    add("--continue", dest="after", type=float, metavar="SECONDS", help="continue the sound")
    add("--before", type=float, metavar="SECONDS", help="let the sound begin earlier")
    add("--vary", type=float, metavar="AMOUNT", help="another take: 0 the sound itself, 1 nothing of it")
    add("--strength", type=float, metavar="AMOUNT", help="change the sound to --prompt: 0 not at all, 1 wholly")
    add("--extend-bandwidth", type=float, metavar="HZ", help="make up what lies above this frequency")
    add("--stereo", action="store_true", help="make a mono sound stereo")
    add("--prompt", help="what is to be heard (default: whatever fits the sound)")
    add("--steps", type=int, help="network calls (default: 1, of a teacher 25; 4 for --extend-bandwidth)")
    add("--guidance", type=float, help="classifier-free guidance (default: the model's)")
    add("--temperature", type=float, help="standard deviation of the noise (default: the model's)")
    add("--seed", type=int, default=0, help="seed (default 0); another one makes another take")
    add("--retries", type=int, default=3, help="tries with other seeds for a sound that fails (default 3)")
    add("--model", default="tta", help="tta, tta-teacher, a folder or a hub id (default tta)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default auto)")


def parse_interval(text: str) -> tuple[float, float]:
    """Returns the two numbers of "START:END" in seconds. Raises ValueError if they are not two numbers."""
    try:
        start, end = (float(part) for part in text.split(":"))
    except ValueError:
        raise ValueError(f"--inpaint takes two numbers of seconds START:END, as 1.2:2.0, not {text!r}") from None
    return start, end


def edit_command(args: argparse.Namespace) -> None:
    """Runs `audiocm edit`. Raises ValueError for wrong options, before the model is loaded if that is possible."""
    from ..audio.io import UnusableClipError, file_format
    from ..audio.originals import read_original, write_original
    from .output import check_output_file

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
    if args.strength is not None and not (args.prompt or "").strip():
        raise ValueError("--strength changes a sound to --prompt: give one, or --vary for another take")
    if args.inpaint is not None:
        args.inpaint = parse_interval(args.inpaint)
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
        from ..pipelines.sound_editor import EditSettings, SoundEditor, check_sound

        check_sound(wav)
        editor = SoundEditor(load_pipeline(args.model, args.device))
        names = ("prompt", "seed", "guidance", "temperature")
        settings = EditSettings(
            **{name: getattr(args, name) for name in names}, steps=args.steps, max_retries=args.retries
        )
        edited, out_rate = _edit(editor, wav, rate, settings, args)
        write_original(args.output, edited, out_rate, subtype)
    elapsed = time.perf_counter() - start
    print(f"{args.output}: {len(edited) / out_rate:.2f} s of sound in {elapsed:.1f} s, model {args.model}")


def _edit(
    editor: SoundEditor, wav: np.ndarray, rate: int, settings: EditSettings, args: argparse.Namespace
) -> tuple[np.ndarray, int]:
    """Returns the edited sound and its rate in Hz."""
    if args.inpaint is not None:
        return editor.inpaint(wav, rate, *args.inpaint, settings), rate
    if args.stereo:
        return editor.widen(wav, rate, settings=settings), rate
    if args.extend_bandwidth is not None:
        return editor.extend_bandwidth(wav, rate, args.extend_bandwidth, settings), max(rate, editor.pipe.sample_rate)
    if (args.after, args.before) != (None, None):
        return editor.extend(wav, rate, args.after or 0.0, args.before or 0.0, settings), rate
    return editor.transform(wav, rate, args.vary if args.strength is None else args.strength, settings), rate

"""Samples of every edit of a recording, and their spectrograms: what stood there, what was given, what was made.

    python -m recipes.text_to_audio.editing_samples

The recording is one of samples/scoring/real, which no training has heard. Writes samples/editing/NAME.ogg and
samples/editing/spectrograms.png, whose last rows have a sound over calls and over guidance at equal noise.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from audiocm.audio.io import decode, write_wave
from audiocm.audio.seams import high_pass
from audiocm.audio.spectral import LogMel
from audiocm.pipelines.filling import EditSettings
from audiocm.pipelines.sound_editor import SoundEditor
from audiocm.pipelines.text_to_audio import TextToAudioPipeline

RECORDING = "24.flac"
START, END, HALF, CUTOFF, AFTER = 1.0, 1.6, 1.2, 4000.0, 4.0  # seconds, Hz
HOP = 256


def edits(editor: SoundEditor, wav: np.ndarray, rate: int, prompt: str, seed: int) -> dict[str, tuple]:
    """Returns for each edit what was given and what was made of it, wavs [sample] or [sample, channel]."""
    settings = EditSettings(prompt, seed=seed)
    removed, half = wav.copy(), wav[: round(HALF * rate)]
    removed[round(START * rate) : round(END * rate)] = 0
    dull = (wav - high_pass(wav, rate, CUTOFF)).astype(np.float32)
    return {
        "filled": (removed, editor.inpaint(wav, rate, START, END, settings)),
        "continued": (half, editor.extend(half, rate, AFTER, settings=settings)),
        "begun": (half, editor.extend(half, rate, before=1.5, settings=settings)),
        "band": (dull, editor.extend_bandwidth(dull, rate, CUTOFF, settings)),
        "varied": (wav, editor.transform(wav, rate, 0.4, EditSettings(seed=seed))),
        "rain": (wav, editor.transform(wav, rate, 0.6, EditSettings("heavy rain on a roof", seed=seed))),
        "stereo": (wav, editor.widen(wav, rate, settings=EditSettings(seed=seed))),
    }


def draw(rows: list[list[tuple[str, np.ndarray]]], rate: int, path: Path) -> None:
    """Draws the log-mel spectrograms of rows of titled wavs."""
    from matplotlib import pyplot
    from PIL import Image

    figure, axes = pyplot.subplots(len(rows), 3, figsize=(9, 1.4 * len(rows)), dpi=70, sharey=True)
    for line, given in zip(axes, rows, strict=True):
        longest = max(len(wav) for _, wav in given) / rate
        for axis, (title, wav) in zip(line, given, strict=True):
            mono = wav.mean(axis=1) if wav.ndim == 2 else wav
            mel = LogMel()(torch.from_numpy(mono[: len(mono) // HOP * HOP]).float()[None])[0]
            axis.imshow(mel, origin="lower", aspect="auto", vmin=-10, vmax=1, extent=(0, len(mono) / rate, 0, 100))
            axis.set_xlim(0, longest)
            axis.set_title(title, fontsize=7)
            axis.tick_params(labelsize=6)
    figure.tight_layout()
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    Image.fromarray(pixels).quantize(48).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=Path, default=Path("samples/scoring"))
    parser.add_argument("--output", type=Path, default=Path("samples/editing"))
    parser.add_argument("--model", default="tta")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    lines = map(json.loads, (args.recordings / "prompts.jsonl").read_text(encoding="utf-8").splitlines())
    prompt = next(line["prompt"] for line in lines if line["file"] == RECORDING)
    wav, rate = decode(args.recordings / "real" / RECORDING)
    pipe = TextToAudioPipeline.from_pretrained(args.model, device="cpu")
    args.output.mkdir(parents=True, exist_ok=True)
    made = edits(SoundEditor(pipe), wav, rate, prompt, args.seed)
    for name, (_, after) in made.items():
        write_wave(args.output / f"{name}.ogg", after, rate)

    def sound(calls: int, w: float) -> np.ndarray:
        generator = torch.Generator().manual_seed(args.seed)
        return pipe("a dog barks", 4.0, calls, w, generator=generator, refine=True, output_type="np").audios[0]

    rows = [
        [("truth", wav), (f"{name}: given", before), (f"{name}: made", after)] for name, (before, after) in made.items()
    ]
    rows.append([(f"refined, {n} calls" if n > 1 else "one call", sound(n, 2.0)) for n in (1, 2, 4)])
    rows.append([(f"guidance {w:g}", sound(1, w)) for w in (1.0, 3.0, 5.0)])
    draw(rows, rate, args.output / "spectrograms.png")


if __name__ == "__main__":
    main()

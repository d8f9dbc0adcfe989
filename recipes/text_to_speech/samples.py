"""The sounds of samples/tts: sentences of the speech table by the shipped student in one call and by its teacher, with what a recogniser hears.

    python -m recipes.text_to_speech.samples --output samples/tts

Every twentieth of recipes/text_to_speech/sentences.txt in the first voice, every fiftieth in each other one, and a tune of recipes/corpora/speech/melodies.txt
that no training held. The recogniser is that of `audiocm score --metrics wer`.
"""

import argparse
import json
from pathlib import Path

import soundfile
import torch

from audiocm import TextToSpeechPipeline
from audiocm.audio.io import resample
from audiocm.diffusion import solvers
from audiocm.embedders.speech import Transcriber
from recipes.corpora.manifests import rng_for
from recipes.corpora.speech.singing import HELD_OUT, placed, tunes
from recipes.text_to_speech.evaluate import sentences

SYSTEMS = (("student", "tts", 1, None), ("teacher", "tts-teacher", 50, solvers.euler))


def asked(voices: tuple[str, ...]) -> list[dict]:
    """What is said: name, voice, text and, for what is sung, notes."""
    texts = [text for _, text in sentences()]
    found = [{"name": f"{i:02d}", "voice": voices[0], "text": text} for i, text in enumerate(texts[::20])]
    for voice in voices[1:]:
        found += [{"name": f"{voice}-{i}", "voice": voice, "text": text} for i, text in enumerate(texts[7::50])]
    name, words, notes = next(one for one in tunes() if one[0] == HELD_OUT[0])
    sung = {"name": "sung", "voice": voices[0], "text": words, "notes": placed(notes, rng_for(0, name))}
    return [*found, sung]


def main() -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("samples/tts"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    hear, rows = Transcriber(), []
    for name, model, steps, solver in SYSTEMS:
        pipe = TextToSpeechPipeline.from_pretrained(model)
        rows = rows or asked(pipe.voices)
        (args.output / name).mkdir(parents=True, exist_ok=True)
        for row in rows:
            notes = [tuple(note) for note in row["notes"]] if "notes" in row else None
            generator = torch.Generator().manual_seed(args.seed)
            out = pipe(row["text"], steps, voice=row["voice"], notes=notes, solver=solver, generator=generator)
            wav = out.audios[0].numpy()
            file = f"{name}/{row['name']}.ogg"
            soundfile.write(args.output / file, wav, pipe.sample_rate, format="OGG", subtype="VORBIS")
            row[name] = {"file": file, "heard": hear(resample(wav, pipe.sample_rate, hear.sample_rate))}
    (args.output / "table.json").write_text(json.dumps({"seed": args.seed, "rows": rows}, indent=1) + "\n")
    lines = ["| file | voice | text | student, one call: heard | teacher, 50 calls: heard |", "|---|---|---|---|---|"]
    for row in rows:
        heard = " | ".join(row[name]["heard"] for name, *_ in SYSTEMS)
        lines.append(f"| {row['name']} | {row['voice']} | {row['text']} | {heard} |")
    args.output.joinpath("table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

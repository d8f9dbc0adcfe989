"""The sounds of samples/tts: sentences by the bundled student in one call and by its teacher, with transcripts.

    python -m recipes.text_to_speech.samples --output samples/tts

Takes every twentieth of sentences.txt in the first voice, every fiftieth in each other one, and a tune of
recipes/corpora/speech/melodies.txt that no training used. The transcripts are those of the recogniser of `audiocm score
--metrics wer`. Made the 15 sentences of samples/tts on a CPU; samples/tts/table.md has the transcripts.
"""

import argparse
from pathlib import Path

import torch

from audiocm import TextToSpeechPipeline
from audiocm.audio.io import resample, write_wave
from audiocm.diffusion import solvers
from audiocm.embedders.speech import Transcriber
from audiocm.files import write_json
from recipes.corpora.manifests import rng_for
from recipes.corpora.speech.singing import HELD_OUT, read_tunes, transpose_notes
from recipes.text_to_speech.evaluate import read_sentences

SYSTEMS = (("student", "tts", 1, None), ("teacher", "tts-teacher", 50, solvers.euler))


def choose_texts(voices: tuple[str, ...]) -> list[dict]:
    """Returns name, voice, text and, of what is sung, notes of each sound."""
    texts = [text for _, text in read_sentences()]
    rows = [{"name": f"{i:02d}", "voice": voices[0], "text": text} for i, text in enumerate(texts[::20])]
    for voice in voices[1:]:
        rows += [{"name": f"{voice}-{i}", "voice": voice, "text": text} for i, text in enumerate(texts[7::50])]
    name, words, notes = next(tune for tune in read_tunes() if tune[0] == HELD_OUT[0])
    sung = {"name": "sung", "voice": voices[0], "text": words, "notes": transpose_notes(notes, rng_for(0, name))}
    return [*rows, sung]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("samples/tts"), help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    transcribe, rows = Transcriber(), []
    for name, model, steps, solver in SYSTEMS:
        pipe = TextToSpeechPipeline.from_pretrained(model)
        rows = rows or choose_texts(pipe.voices)
        for row in rows:
            notes = [tuple(note) for note in row["notes"]] if "notes" in row else None
            generator = torch.Generator().manual_seed(args.seed)
            out = pipe(row["text"], steps, voice=row["voice"], notes=notes, solver=solver, generator=generator)
            wav, file = out.audios[0].numpy(), f"{name}/{row['name']}.ogg"
            write_wave(args.output / file, wav, pipe.sample_rate)
            transcript = transcribe(resample(wav, pipe.sample_rate, transcribe.sample_rate))
            row[name] = {"file": file, "transcript": transcript}
    write_json(args.output / "table.json", {"seed": args.seed, "rows": rows})
    lines = [
        "| file | voice | text | student, one call: transcript | teacher, 50 calls: transcript |",
        "|---" * 5 + "|",
    ]
    for row in rows:
        transcripts = " | ".join(row[name]["transcript"] for name, *_ in SYSTEMS)
        lines.append(f"| {row['name']} | {row['voice']} | {row['text']} | {transcripts} |")
    args.output.joinpath("table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

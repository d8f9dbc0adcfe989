"""The table of short texts: a hundred of one and two words, spoken alone and as `_in_context` speaks them.

    python -m recipes.text_to_speech.short_texts --results samples/tts_short_texts.json

short_texts.txt has the texts. "alone" is the phoneme line of the text as it is, "context" what the pipeline does: the
line three times, of which the last is kept; "voice" is the synthesiser whose voice "heart" is. A text is right if the
transcript of the recogniser of `audiocm score --metrics wer` has its words; edge levels are of the first and last 10 ms,
in dB of the sound's mean. The recogniser hears 0.3 s of silence around every sound.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from audiocm.audio.io import resample
from audiocm.embedders.speech import Transcriber
from audiocm.files import write_json
from audiocm.metrics.speech import normalize_words, word_errors
from audiocm.pipelines import text_to_speech
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline

TEXTS = Path(__file__).with_suffix(".txt")
AROUND = 0.3  # seconds of silence
EDGE = 0.01  # seconds
Speak = Callable[[str, int], np.ndarray]  # a text and a seed to a wav [sample]


def level(wav: np.ndarray) -> float:
    """Returns the RMS level in dB of full scale, at least -120."""
    return 20 * float(np.log10(max(np.sqrt(np.mean(wav.astype(np.float64) ** 2)), 1e-6)))


def speakers(pipe: TextToSpeechPipeline) -> dict[str, Speak]:
    """Returns the rows of the table."""

    def speaker(voice: str, short: int) -> Speak:
        def speak(text: str, seed: int) -> np.ndarray:
            with mock.patch.object(text_to_speech, "SHORT", short):
                return pipe(text, voice=voice, generator=torch.Generator().manual_seed(seed)).audios[0].numpy()

        return speak

    rows = {}
    for voice in pipe.voices:
        rows[f"{voice}, alone"] = speaker(voice, 0)
        rows[f"{voice}, context"] = speaker(voice, text_to_speech.SHORT)
    return rows


def voice_speaker() -> Speak:
    """Returns the synthesiser of the voice "heart"."""
    from hibari import Hibari

    synthesize = Hibari(threads=1)
    return lambda text, seed: synthesize(text, seed=seed)


def measure(speak: Speak, texts: list[str], rate: int, transcribe: Transcriber) -> dict:
    """Returns the share of texts that are right, word errors, edge levels, and the transcripts of the others."""
    rows, around, edge = [], np.zeros(round(AROUND * rate), np.float32), round(EDGE * rate)
    for seed, text in enumerate(texts):
        wav = speak(text, seed)
        heard = transcribe(resample(np.concatenate([around, wav, around]), rate, transcribe.sample_rate))
        wrong, words = word_errors(text, heard)["WER"]
        right = normalize_words(text) == normalize_words(heard)
        rows.append((right, wrong, words, level(wav[:edge]) - level(wav), level(wav[-edge:]) - level(wav), text, heard))
    right, wrong, words, first, last, *_ = (np.array(column) for column in zip(*rows, strict=True))
    return {
        "right %": round(100 * float(right.mean()), 1),
        "WER %": round(100 * float(wrong.sum() / words.sum()), 1),
        "first 10 ms dB, median": round(float(np.median(first)), 1),
        "last 10 ms dB, median": round(float(np.median(last)), 1),
        "edges above -30 dB %": round(100 * float(((first > -30) | (last > -30)).mean()), 1),
        "wrong": {row[-2]: row[-1] for row in rows if not row[0]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tts", help="model name or folder")
    parser.add_argument("--texts", type=Path, default=TEXTS, help="a text a line")
    parser.add_argument("--results", type=Path, default=Path("samples/tts_short_texts.json"))
    args = parser.parse_args()
    texts = [line for line in args.texts.read_text(encoding="utf-8").splitlines() if line]
    transcribe, pipe = Transcriber(), TextToSpeechPipeline.from_pretrained(args.model)
    rows = {"voice": voice_speaker(), **speakers(pipe)}
    systems = {}
    for name, speak in rows.items():
        systems[name] = measure(speak, texts, pipe.sample_rate, transcribe)
        print(name, {key: value for key, value in systems[name].items() if key != "wrong"}, flush=True)
    card = {"model": args.model, "texts": len(texts), "recogniser": transcribe.name, "digest": transcribe.digest}
    write_json(args.results, {"card": card, "systems": systems})


if __name__ == "__main__":
    main()

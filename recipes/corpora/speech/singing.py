"""Singing, and speech with another melody, by the synthetic voice of `hibari_voice`: what a model learns to follow F0 from.

    python -m recipes.corpora.speech.singing --sentences data/speech/sentences.txt --root data/singing [--hours 2] [--jobs 16]

Three kinds: the tunes of melodies.txt in many keys and tempi; sentences on scales, arpeggios and random walks, a note a syllable;
sentences as spoken with F0 shifted, flattened or exaggerated. The voice is told durations, F0 and energy and makes the clip
again, so F0 is exact. A folder for --corpora of recipes/text_to_speech/data.py: beside each clip lies NAME.json with phonemes, seconds
and the F0 told; the manifest has the notes. This is no singer's voice: vibrato and glides are drawn, loudness is speech's.
The tunes in HELD_OUT and the test sentences are for recipes/text_to_speech/evaluate_pitch.py. Continues where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from audiocm.speech.phonemes import SYMBOLS, VOWELS, encode, sentences
from audiocm.speech.singing import align_notes, note_pitch, read_score
from recipes.corpora.manifests import build, level, rng_for
from recipes.corpora.speech.hibari import POINT, VOICED, TellingVoice, merged, shared, source
from recipes.corpora.speech.voices import tell

MELODIES = Path(__file__).parent / "melodies.txt"
HELD_OUT = ("Mary had a little lamb", "Are you sleeping", "Ode to joy", "Scarborough fair")
LOW, HIGH = 53, 67  # MIDI: F3 to G4, where the voice sounds like itself and F0 is followed best
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10), "pentatonic": (0, 2, 4, 7, 9)}
TUNE_SHARE, SUNG_SHARE = 0.15, 0.55  # of the hours; of the sentences that are short enough
LONGEST = 16  # syllables of a sung sentence
CAPTIONS = {"sung": ["a woman singing", "singing without instruments"], "contour": ["a woman speaking", "speech"]}

_VOICE: list = []


def tunes() -> Iterator[tuple[str, str, list[tuple[float, float]]]]:
    """(name, words, notes) of each line of melodies.txt, at 120 beats a minute."""
    name = ""
    for line in MELODIES.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            name = line.lstrip("# ").partition(" (")[0]
        elif line.strip():
            yield name, *read_score(line)[0]


def placed(notes: Sequence[tuple[float, float]], rng: np.random.Generator) -> list[list[float]]:
    """The notes in a random key that the voice can sing, at a random tempo."""
    pitches, pace = [note for note, _ in notes], float(rng.uniform(0.75, 1.25))
    shift = int(rng.integers(LOW - min(pitches), HIGH - max(pitches) + 1))
    return [[note + shift, round(length * pace, 3)] for note, length in notes]


def composed(count: int, rng: np.random.Generator) -> list[list[float]]:
    """So many notes of a random scale: up and down it, in thirds, or a walk of small steps; of five lengths, the last long."""
    scale, root = SCALES[str(rng.choice(list(SCALES)))], int(rng.integers(12))
    ladder = [float(note) for note in range(LOW, HIGH + 1) if (note - root) % 12 in scale]
    steps = {"steps": np.ones(count), "thirds": np.full(count, 2), "walk": rng.choice([-2, -1, -1, 0, 1, 1, 2], count)}
    places = int(rng.integers(2 * len(ladder))) + np.cumsum(steps[str(rng.choice(list(steps)))]).astype(int)
    turn = len(ladder) - 1
    beats = np.append(rng.choice([0.75, 1.0, 1.0, 1.5, 2.0], count - 1), 2.0) * rng.uniform(0.25, 0.5)
    return [
        [ladder[turn - abs(turn - place % (2 * turn))], round(float(length), 3)]
        for place, length in zip(places, beats, strict=True)
    ]


def _entry(name: str, split: str, text: str, kind: str, seed: int, **more) -> dict:
    rng = rng_for(seed, "singing", name)
    return {
        "file": f"clips/{kind}/{name}.flac", "split": split, "source": "pypi:hibari-tts", "licence": "Apache-2.0",
        "kind": "speech", "text": text, "voice": "heart", "captions": CAPTIONS[kind], "group": f"{kind}:{text}",
        "caption_sources": ["speech"] * 2, **more,
        "spec": {"decibel": float(rng.uniform(-27, -19)), "seed": int(rng.integers(2**31)), "plain": bool(rng.random() < 0.5)},
    }  # fmt: skip


def plan(sentences_file: Path, hours: float, seed: int = 0) -> list[dict]:
    """Manifest lines of about `hours`: tunes in several takes, then the sentences in their order (held-out ones first)."""
    lines, wanted, spent = [], hours * 3600, 0.0
    songs = list(tunes())
    for take in range(1000):
        for number, (name, words, notes) in enumerate(songs):
            held = name in HELD_OUT
            if (take and held) or spent > TUNE_SHARE * wanted:
                continue
            own = placed(notes, rng_for(seed, "tune", number, take))
            spent += sum(length for _, length in own) + 0.6
            key = f"tune{number:03d}-{take:03d}"
            lines.append(_entry(key, "test" if held else "train", words, "sung", seed, notes=own, tune=name))
        if spent > TUNE_SHARE * wanted:
            break
    for index, row in enumerate(sentences_file.read_text(encoding="utf-8").splitlines()):
        if spent > wanted:
            break
        split, _, text = row.split("\t")
        rng, told = rng_for(seed, "contour", text), list(sentences(text))
        if len(told) != 1:
            continue
        count = sum(symbol in VOWELS for symbol in told[0].phonemes)
        if count <= LONGEST and rng.random() < SUNG_SHARE:
            notes = composed(count, rng)
            spent += sum(length for _, length in notes) + 0.6
            lines.append(_entry(f"{index:06d}", split, text, "sung", seed, notes=notes))
        else:
            contour = {"semitones": round(float(rng.uniform(-6, 6)), 2), "range": float(rng.choice([0, 0.5, 1, 1.6]))}
            spent += len(text) / 14.5
            lines.append(_entry(f"{index:06d}", split, text, "contour", seed, contour=contour))
    return lines


def decorated(hertz: np.ndarray, seed: int) -> np.ndarray:
    """F0 [point] with glides between notes, and with vibrato where a note has lasted a quarter of a second."""
    rng, log = np.random.default_rng(seed), np.log2(hertz)
    width = int(rng.integers(2, 5))
    padded = np.pad(log, width, mode="edge")
    log = np.convolve(padded, np.full(2 * width + 1, 1 / (2 * width + 1)), "valid")
    changes = np.flatnonzero(np.diff(hertz, prepend=0) != 0)
    since = (np.arange(len(log)) - changes[np.searchsorted(changes, np.arange(len(log)), side="right") - 1]) * POINT
    swing = np.clip((since - 0.25) / 0.2, 0, 1) * rng.uniform(0, 50) / 1200
    return 2 ** (log + swing * np.sin(2 * np.pi * rng.uniform(5, 6.5) * since))


def sing(voice: TellingVoice, phonemes: str, notes: Sequence[tuple[float, float]], seed: int, plain: bool = True):
    """A line sung on `notes`: wav, seconds of each symbol, F0 told each POINT (nan: free). plain: without glides and vibrato."""
    symbols = [SYMBOLS[number] for number in encode(phonemes)[0]]
    spoken, known = voice(phonemes, seed=seed), voice.voice.vocab
    frames = shared(phonemes, align_notes(symbols, spoken.seconds, notes, POINT)[0], spoken.frames, known)
    held = np.array([False, *(symbol in VOWELS for symbol in phonemes if symbol in known), False])
    at = source(spoken.frames, frames, held)
    seconds = merged(phonemes, frames, known)
    asked = note_pitch(symbols, seconds, notes, POINT)
    melody = _filled(asked) if plain else decorated(_filled(asked), seed)
    vowel, energy = np.repeat(held, (2 * frames).astype(int)), spoken.energy[at]
    sounding = vowel | (spoken.hertz[at] > VOICED)
    energy = np.where(vowel, np.maximum(energy, np.median(energy[vowel])), energy)  # notes are held, not dropped
    hertz = np.where(sounding, melody, 0.0)
    made = voice(phonemes, seed=seed, frames=frames, hertz=hertz, energy=energy)
    return made.wav, seconds, np.where(np.isnan(asked), np.nan, hertz)


def _filled(hertz: np.ndarray) -> np.ndarray:
    """Every free point with the nearest told one's F0 before it, or, at the beginning, after it."""
    told = np.flatnonzero(~np.isnan(hertz))
    return hertz[told[(np.searchsorted(told, np.arange(len(hertz)), side="right") - 1).clip(0)]]


def bend(voice: TellingVoice, phonemes: str, contour: dict, seed: int):
    """A line as spoken but with its F0 moved by `semitones` and its rises and falls times `range`."""
    spoken = voice(phonemes, seed=seed)
    voiced = spoken.hertz > VOICED
    octaves = np.log2(np.where(voiced, spoken.hertz, 1.0))
    middle = np.median(octaves[voiced])
    moved = 2 ** (middle + contour["semitones"] / 12 + contour["range"] * (octaves - middle))
    hertz = np.where(voiced, moved.clip(80.0, 450.0), 0.0)
    made = voice(phonemes, seed=seed, frames=spoken.frames, hertz=hertz, energy=spoken.energy)
    return made.wav, spoken.seconds, hertz


def _start(root: Path) -> None:
    _VOICE[:] = [TellingVoice(), root]


def _make(line: dict) -> np.ndarray:
    phonemes, spec = next(sentences(line["text"])).phonemes, line["spec"]
    if "notes" in line:
        wav, seconds, hertz = sing(_VOICE[0], phonemes, line["notes"], spec["seed"], spec["plain"])
    else:
        wav, seconds, hertz = bend(_VOICE[0], phonemes, line["contour"], spec["seed"])
    tell(_VOICE[1] / line["file"], phonemes, seconds, hertz)
    return level(wav, spec["decibel"])


def singing(sentences_file: Path, root: Path, hours: float = 2.0, seed: int = 0, n_jobs: int = 1) -> list[dict]:
    """About `hours` under root; returns the manifest."""
    return build(root, plan(sentences_file, hours, seed), _make, n_jobs, _start, (root,), "singing")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sentences", type=Path, default=Path("data/speech/sentences.txt"))
    parser.add_argument("--root", type=Path, default=Path("data/singing"))
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    made = singing(args.sentences, args.root, args.hours, args.seed, args.jobs)
    print(f"{len(made)} clips, {sum(line['seconds'] for line in made) / 3600:.2f} h")

"""Singing, and speech with an altered melody, by a synthetic voice: models learn from it to follow F0.

    python -m recipes.corpora.speech.singing --sentences data/speech/sentences.txt --root data/singing --jobs 16

Runs on a CPU and continues where it stopped. Three kinds of clips: the tunes of melodies.txt in many keys and tempi;
sentences on scales, arpeggios and random walks, one note per syllable; sentences with F0 shifted, flattened or
exaggerated. The voice takes durations, F0 and energy (`hibari`), so F0 is exact; vibrato and glides are drawn, loudness
is that of speech. NAME.json beside a clip has phonemes, seconds and F0, the manifest the notes. The tunes in HELD_OUT
and the test sentences are for evaluate_pitch. The bundled speech models were trained on 2.1 hours of it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from audiocm.speech.phonemes import encode_phonemes
from audiocm.speech.singing import align_notes, note_pitch, read_score
from audiocm.text.alphabet import SYMBOLS, VOWELS
from audiocm.text.reading import read_sentences as read_text
from recipes.corpora.manifests import build, level, print_summary, rng_for
from recipes.corpora.speech.hibari import (
    POINT,
    VOICED,
    ControllableVoice,
    distribute_durations,
    merge_durations,
    stretch_positions,
)
from recipes.corpora.speech.sentences import read_sentences
from recipes.corpora.speech.synthesize import CHARACTERS_PER_SECOND, corpus_parser
from recipes.corpora.speech.voices import write_annotation

MELODIES = Path(__file__).parent / "melodies.txt"
HELD_OUT = ("Mary had a little lamb", "Are you sleeping", "Ode to joy", "Scarborough fair")
LOW, HIGH = 53, 67  # MIDI: F3 to G4, where the voice sounds like itself and F0 is followed best
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10), "pentatonic": (0, 2, 4, 7, 9)}
TUNE_SHARE = 0.15  # of the hours
SUNG_SHARE = 0.55  # of the sentences that are short enough
MAX_SYLLABLES = 16  # of a sung sentence
SILENCE = 0.6  # seconds before and after the notes, about
CAPTIONS = {"sung": ["a woman singing", "singing without instruments"], "contour": ["a woman speaking", "speech"]}

Notes = Sequence[tuple[float, float]]  # (MIDI number, seconds)
_VOICE: list = []  # of a worker process: voice, root


def read_tunes() -> Iterator[tuple[str, str, Notes]]:
    """Yields (name, words, notes) of each line of melodies.txt, at 120 beats per minute."""
    name = ""
    for line in MELODIES.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            name = line.lstrip("# ").partition(" (")[0]
        elif line.strip():
            yield name, *read_score(line)[0]


def transpose_notes(notes: Notes, rng: np.random.Generator) -> list[list[float]]:
    """Moves notes to a random key that the voice can sing, at a random tempo."""
    pitches, pace = [note for note, _ in notes], float(rng.uniform(0.75, 1.25))
    shift = int(rng.integers(LOW - min(pitches), HIGH - max(pitches) + 1))
    return [[note + shift, round(length * pace, 3)] for note, length in notes]


def compose_notes(count: int, rng: np.random.Generator) -> list[list[float]]:
    """Draws `count` notes of a random scale, in steps, in thirds or as a random walk; the last one is long."""
    scale, root = SCALES[str(rng.choice(list(SCALES)))], int(rng.integers(12))
    ladder = [float(note) for note in range(LOW, HIGH + 1) if (note - root) % 12 in scale]
    steps = {"steps": np.ones(count), "thirds": np.full(count, 2), "walk": rng.choice([-2, -1, -1, 0, 1, 1, 2], count)}
    places = int(rng.integers(2 * len(ladder))) + np.cumsum(steps[str(rng.choice(list(steps)))]).astype(int)
    top = len(ladder) - 1
    pitches = [ladder[top - abs(top - place % (2 * top))] for place in places]
    beats = np.append(rng.choice([0.75, 1.0, 1.0, 1.5, 2.0], count - 1), 2.0) * rng.uniform(0.25, 0.5)
    return [[pitch, round(float(length), 3)] for pitch, length in zip(pitches, beats, strict=True)]


def _entry(name: str, split: str, text: str, kind: str, seed: int, **more: object) -> dict:
    rng = rng_for(seed, "singing", name)
    spec = {"decibel": float(rng.uniform(-27, -19)), "seed": int(rng.integers(2**31))}
    return {
        "file": f"clips/{kind}/{name}.flac",
        "split": split,
        "source": "pypi:hibari-tts",
        "licence": "Apache-2.0",
        "kind": "speech",
        "text": text,
        "voice": "heart",
        "captions": CAPTIONS[kind],
        "group": f"{kind}:{text}",
        "caption_sources": ["speech"] * 2,
        **more,
        "spec": {**spec, "plain": bool(rng.random() < 0.5)},
    }


def plan(sentences: Path, hours: float, seed: int = 0) -> list[dict]:
    """Returns manifest lines of about `hours`: several takes of the tunes, then the sentences in their order."""
    lines, wanted, spent = [], hours * 3600, 0.0
    tunes = list(read_tunes())
    for take in range(1000):
        for number, (name, words, notes) in enumerate(tunes):
            held_out = name in HELD_OUT
            if (take and held_out) or spent > TUNE_SHARE * wanted:
                continue
            moved = transpose_notes(notes, rng_for(seed, "tune", number, take))
            spent += sum(length for _, length in moved) + SILENCE
            key, split = f"tune{number:03d}-{take:03d}", "test" if held_out else "train"
            lines.append(_entry(key, split, words, "sung", seed, notes=moved, tune=name))
        if spent > TUNE_SHARE * wanted:
            break
    for index, (split, _, text) in enumerate(read_sentences(sentences)):
        if spent > wanted:
            break
        rng, parts = rng_for(seed, "contour", text), list(read_text(text))
        if len(parts) != 1:
            continue
        count = sum(symbol in VOWELS for symbol in parts[0].phonemes)
        if count <= MAX_SYLLABLES and rng.random() < SUNG_SHARE:
            notes = compose_notes(count, rng)
            spent += sum(length for _, length in notes) + SILENCE
            lines.append(_entry(f"{index:06d}", split, text, "sung", seed, notes=notes))
        else:
            contour = {"semitones": round(float(rng.uniform(-6, 6)), 2), "range": float(rng.choice([0, 0.5, 1, 1.6]))}
            spent += len(text) / CHARACTERS_PER_SECOND
            lines.append(_entry(f"{index:06d}", split, text, "contour", seed, contour=contour))
    return lines


def add_expression(hertz: np.ndarray, seed: int) -> np.ndarray:
    """Adds glides between notes to F0 [point], and vibrato where a note has lasted a quarter of a second."""
    rng, log = np.random.default_rng(seed), np.log2(hertz)
    width = int(rng.integers(2, 5))
    padded = np.pad(log, width, mode="edge")
    log = np.convolve(padded, np.full(2 * width + 1, 1 / (2 * width + 1)), "valid")
    changes = np.flatnonzero(np.diff(hertz, prepend=0) != 0)
    since = (np.arange(len(log)) - changes[np.searchsorted(changes, np.arange(len(log)), side="right") - 1]) * POINT
    depth = np.clip((since - 0.25) / 0.2, 0, 1) * rng.uniform(0, 50) / 1200
    return 2 ** (log + depth * np.sin(2 * np.pi * rng.uniform(5, 6.5) * since))


def sing(
    voice: ControllableVoice, phonemes: str, notes: Notes, seed: int, plain: bool = True
) -> tuple[np.ndarray, list[float], np.ndarray]:
    """Sings a line: wav [sample], seconds of each symbol, requested F0 [point] (nan: free).

    plain: without glides and vibrato."""
    symbols = [SYMBOLS[number] for number in encode_phonemes(phonemes)[0]]
    spoken, vocabulary = voice(phonemes, seed=seed), voice.voice.vocab
    lengths = align_notes(symbols, spoken.seconds, notes, POINT)[0]
    frames = distribute_durations(phonemes, lengths, spoken.frames, vocabulary)
    is_vowel = np.array([False, *(symbol in VOWELS for symbol in phonemes if symbol in vocabulary), False])
    positions = stretch_positions(spoken.frames, frames, is_vowel)
    seconds = merge_durations(phonemes, frames, vocabulary)
    requested = note_pitch(symbols, seconds, notes, POINT)
    melody = _fill_gaps(requested) if plain else add_expression(_fill_gaps(requested), seed)
    in_vowel, energy = np.repeat(is_vowel, (2 * frames).astype(int)), spoken.energy[positions]
    voiced = in_vowel | (spoken.hertz[positions] > VOICED)
    energy = np.where(in_vowel, np.maximum(energy, np.median(energy[in_vowel])), energy)  # notes do not fade out
    hertz = np.where(voiced, melody, 0.0)
    line = voice(phonemes, seed=seed, frames=frames, hertz=hertz, energy=energy)
    return line.wav, seconds, np.where(np.isnan(requested), np.nan, hertz)


def _fill_gaps(hertz: np.ndarray) -> np.ndarray:
    """Gives every free (nan) point the F0 of the last point before it that has one or, at the beginning, after it."""
    known = np.flatnonzero(~np.isnan(hertz))
    return hertz[known[(np.searchsorted(known, np.arange(len(hertz)), side="right") - 1).clip(0)]]


def bend_pitch(
    voice: ControllableVoice, phonemes: str, contour: dict[str, float], seed: int
) -> tuple[np.ndarray, list[float], np.ndarray]:
    """Speaks a line with its F0 moved by `semitones` and its deviations from the median times `range`, as `sing`."""
    spoken = voice(phonemes, seed=seed)
    voiced = spoken.hertz > VOICED
    octaves = np.log2(np.where(voiced, spoken.hertz, 1.0))
    middle = np.median(octaves[voiced])
    moved = 2 ** (middle + contour["semitones"] / 12 + contour["range"] * (octaves - middle))
    hertz = np.where(voiced, moved.clip(80.0, 450.0), 0.0)
    line = voice(phonemes, seed=seed, frames=spoken.frames, hertz=hertz, energy=spoken.energy)
    return line.wav, spoken.seconds, hertz


def _start(root: Path) -> None:
    _VOICE[:] = [ControllableVoice(), root]


def _make(line: dict) -> np.ndarray:
    phonemes, spec = next(read_text(line["text"])).phonemes, line["spec"]
    if "notes" in line:
        wav, seconds, hertz = sing(_VOICE[0], phonemes, line["notes"], spec["seed"], spec["plain"])
    else:
        wav, seconds, hertz = bend_pitch(_VOICE[0], phonemes, line["contour"], spec["seed"])
    write_annotation(_VOICE[1] / line["file"], phonemes, seconds, hertz)
    return level(wav, spec["decibel"])


def synthesize_singing(sentences: Path, root: Path, hours: float = 2.0, seed: int = 0, n_jobs: int = 1) -> list[dict]:
    """Synthesises about `hours` under `root` with `n_jobs` processes; returns the manifest."""
    return build(root, plan(sentences, hours, seed), _make, n_jobs, _start, (root,), "singing")


def main() -> None:
    args = corpus_parser(__doc__.splitlines()[0], Path("data/singing"), 2.0).parse_args()
    print_summary(synthesize_singing(args.sentences, args.root, args.hours, args.seed, args.jobs))


if __name__ == "__main__":
    main()

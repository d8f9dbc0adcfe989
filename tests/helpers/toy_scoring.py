"""Folders of noise, and embedders and taggers of eight band energies, to score them with."""

import json

import numpy as np
import soundfile

from audiocm.embedders.protocol import CallableEmbedder
from audiocm.evaluation.session import ScoreRequest

RATE = 8000


def bands(wav):
    """Log energy in eight bands: a real, if small, embedding."""
    power = np.square(np.abs(np.fft.rfft(wav)))
    return np.log([part.sum() + 1e-9 for part in np.array_split(power, 8)])


def toy(digest="1"):
    return CallableEmbedder(bands, "bands", RATE, digest)


class ToyTagger(CallableEmbedder):
    """Calls a clip "low" or "high" by where its energy lies."""

    classes = ("low", "high")

    def features(self, wavs):
        low = np.array([[np.exp(b[:4]).sum() / np.exp(b).sum()] for b in map(bands, wavs)])
        return {"embedding": np.stack([bands(w) for w in wavs]), "probabilities": np.hstack([low, 1 - low])}

    def class_indices(self, labels):
        return [self.classes.index(label) for label in labels]


def toy_tagger():
    return ToyTagger(bands, "tags", RATE, "1")


def noise_folder(folder, count, seed, colour=0.0, prefix=""):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        wav = rng.normal(0, 0.05, 4000)
        wav[1:] += colour * wav[:-1]
        soundfile.write(folder / f"{prefix}{i:03d}.wav", wav, RATE)
    return folder


def write_lines(file, lines):
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def ask(generated, reference=None, **more):
    return ScoreRequest(generated, reference, **({"embedders": (toy(),), "cache": None} | more))

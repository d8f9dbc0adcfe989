"""Pipelines whose sounds of chosen seeds fail, to test what is done about it."""

import torch

from audiocm.codec.codec import Codec
from audiocm.pipelines import speech_synthesizer, text_to_audio_sampler
from audiocm.pipelines.sampler import PerItemNoise, item_seeds

SILENT, CLIPPED, BROKEN = 0.0, 1e3, float("nan")


def seed_of(number: int) -> int:
    """The seed of the sound that a generator with this seed makes."""
    return item_seeds(torch.Generator().manual_seed(number), 1, 1)[0]


def spoil(monkeypatch, factors: dict[int, float], log: list[int] | None = None) -> None:
    """Multiplies the decoded sounds of some seeds by a factor each; `log` gets the seeds of all, in their order."""
    waiting: list[int] = []
    decode = Codec.decode

    class Recorded(PerItemNoise):
        def __init__(self, seeds, *shape):
            super().__init__(seeds, *shape)
            waiting[:] = seeds
            if log is not None:
                log.extend(seeds)

    def spoilt(self, latent, max_rms=None):
        seeds = [waiting.pop(0) for _ in latent]
        return decode(self, latent, max_rms) * torch.tensor([factors.get(seed, 1.0) for seed in seeds])[:, None]

    monkeypatch.setattr(Codec, "decode", spoilt)
    for module in (text_to_audio_sampler, speech_synthesizer):
        monkeypatch.setattr(module, "PerItemNoise", Recorded)


def fail_first_run(monkeypatch, fast) -> list[int]:
    """Marks the second sound of the first run of a recorded call as silent; returns the numbers of the runs so far."""
    run, calls = fast._run, []

    def silent_at_first():
        wav, flags = run()
        calls.append(len(calls))
        flags[1, 1] |= len(calls) == 1
        return wav, flags

    monkeypatch.setattr(fast, "_run", silent_at_first)
    return calls

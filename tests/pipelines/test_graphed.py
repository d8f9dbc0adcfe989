"""A whole call as one CUDA graph; on a CPU the function that is recorded runs as it is."""

import pytest
import torch
from spoilt import fail_first_run
from tiny_model import tiny_pipeline

from audiocm.pipelines.failures import RETRY_STRIDE
from audiocm.pipelines.graphed import GraphedTextToAudio

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("device", DEVICES)
def test_sounds_are_those_of_the_pipeline(device):
    """With other prompts, seeds, guidance and temperature in each call, for a whole batch and for a part of it."""
    pipe = tiny_pipeline(student=True).to(device)
    fast = GraphedTextToAudio(pipe, batch=3, audio_length_in_s=1.2)
    for prompts, w, temperature in ((["a dog barks", "rain", "wind"], 2.0, 1.0), (["a bell"], 4.5, 0.8)):
        expected = pipe(prompts, 1.2, 1, w, generator=seeded(7), temperature=temperature).audios
        made = fast(prompts, w, seeded(7), temperature)
        assert made.audios.shape == expected.shape and made.sample_rate == pipe.sample_rate
        assert torch.allclose(made.audios, expected, atol=1e-5) and made.audios.std() > 1e-4


def test_a_sound_that_failed_is_made_again_with_the_next_seed(monkeypatch):
    """And the others of its call stay: the second run writes to the memory of the first."""
    pipe = tiny_pipeline(student=True)
    fast = GraphedTextToAudio(pipe, batch=2, audio_length_in_s=0.5)
    calls = fail_first_run(monkeypatch, fast)
    made = fast(["rain", "wind"], generator=seeded(3))
    again = seeded(3)
    seed = int(torch.randint(2**62, (1,), generator=again)) + RETRY_STRIDE
    assert made.retries == [0, 1] and calls == [0, 1]
    valid = pipe(["rain"], 0.5, 1, generator=seeded(3)).audios[0]
    assert torch.allclose(made.audios[0], valid, atol=1e-5)
    monkeypatch.undo()
    noise = fast.noise.clone()
    fast._fill(torch.zeros(1, fast.words.shape[1]), torch.ones(1, fast.words.shape[1]), [seed], 1.0, 1.0)
    assert torch.equal(fast.noise[:1] * pipe.config.temperature, noise[:1])  # the second try's noise, in the first row
    silent = fast(["rain"], generator=seeded(3), max_retries=0)
    assert not silent.failures


def test_what_cannot_be_recorded_is_refused():
    with pytest.raises(ValueError, match="student"):
        GraphedTextToAudio(tiny_pipeline(student=False))
    pipe = tiny_pipeline(student=True)
    with pytest.raises(ValueError, match="batch"):
        GraphedTextToAudio(pipe, batch=0)
    with pytest.raises(ValueError, match="seconds"):
        GraphedTextToAudio(pipe, audio_length_in_s=100)
    fast = GraphedTextToAudio(pipe, audio_length_in_s=0.5)
    with pytest.raises(ValueError, match="recorded for 1"):
        fast(["rain", "wind"])
    with pytest.raises(ValueError, match="guidance"):
        fast("rain", 1e9)

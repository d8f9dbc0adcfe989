"""What all pipelines share: seeds, noise of single items, and sounds that are refused."""

import pytest
import torch

from audiocm.pipelines.latent_pipeline import AudioError, PerItemNoise, item_seeds, validate_audio


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_generator_moves_on_and_lists_of_generators_stand_for_prompts_or_sounds():
    generator = seeded(0)
    first, second = item_seeds(generator, 1, 1), item_seeds(generator, 1, 1)
    assert first != second and first == item_seeds(seeded(0), 1, 1)
    assert item_seeds([seeded(0), seeded(1)], 2, 2) == [
        *item_seeds(seeded(0), 1, 2),
        *item_seeds(seeded(1), 1, 2),
    ]
    assert item_seeds([seeded(0), seeded(1)], 1, 2) == [
        *item_seeds(seeded(0), 1, 1),
        *item_seeds(seeded(1), 1, 1),
    ]
    assert len(set(item_seeds(None, 1, 4))) == 4
    with pytest.raises(ValueError, match="3 generators for 2 prompts of 2"):
        item_seeds([seeded(0)] * 3, 2, 2)


def test_noise_of_a_shorter_sound_is_the_start_of_the_longer_ones():
    long, short = PerItemNoise([3, 4], 5, 100)(100, "cpu"), PerItemNoise([4], 5, 100)(20, "cpu")
    assert torch.equal(short[0], long[1, :, :20]) and abs(float(long.std()) - 1) < 0.1


def test_silent_broken_and_clipped_sounds_are_refused():
    """The error names the prompt; a few peaks over full scale are scaled down instead."""
    sound = 0.1 * torch.randn(1, 24_000, generator=seeded(0))
    assert torch.equal(validate_audio(sound, ["ok"]), sound)
    loud = sound / sound.abs().max() * 1.3
    assert torch.allclose(validate_audio(loud, ["ok"]), loud * 0.99 / 1.3, atol=1e-6)
    broken = sound.clone()
    broken[0, 77] = float("nan")
    faults = {"silent": sound * 0, "not finite": broken, "clipped": (sound * 8).clamp(-1, 1)}
    faults |= {"is clipped": sound * 20, "is silent": sound * 1e-4, "are not finite": sound / 0}
    for fault, wav in faults.items():
        with pytest.raises(AudioError, match=f"'bad'.*{fault}"):
            validate_audio(torch.cat([sound, wav]), ["good", "bad"])

"""What all pipelines share: seeds, and noise of single items."""

import pytest
import torch

from audiocm.pipelines.sampler import PerItemNoise, item_seeds


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

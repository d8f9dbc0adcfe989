"""The noise that torch draws on a CPU for a seed, in numpy, so that a seed is the same sound with and without torch.

torch's generator is the Mersenne Twister mt19937, which numpy has too; normal numbers are made from it by Box and Muller's
formula in groups of sixteen (`normal_fill` of ATen).
"""

import numpy as np

_GROUP = 16


def drawn_seed(seed: int) -> int:
    """Returns torch.randint(2**62, (1,), generator=torch.Generator().manual_seed(seed)), a pipeline's seed of a sound."""
    high, low = _words(np.random.RandomState(seed & 0xFFFFFFFF), 2)
    return (int(high) << 32 | int(low)) % 2**62


def normal_noise(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Returns torch.randn(shape, generator=torch.Generator().manual_seed(seed)), float32, to rounding.

    Raises ValueError for fewer than 16 numbers, which torch draws in another way."""
    count = int(np.prod(shape))
    if count < _GROUP:
        raise ValueError(f"noise must have at least {_GROUP} numbers, not {count}")
    generator = np.random.RandomState(seed & 0xFFFFFFFF)  # torch too keeps 32 bits of a seed
    whole = count // _GROUP * _GROUP
    uniform = _uniform(generator, count)
    noise = np.concatenate([_box_muller(uniform[:whole]), uniform[whole:]])
    if whole < count:  # the last sixteen are drawn again
        noise[-_GROUP:] = _box_muller(_uniform(generator, _GROUP))
    return noise.reshape(shape)


def _words(generator: np.random.RandomState, count: int) -> np.ndarray:
    return generator.randint(0, 2**32, count, dtype=np.uint32)


def _uniform(generator: np.random.RandomState, count: int) -> np.ndarray:
    return (_words(generator, count) & np.uint32(0xFFFFFF)).astype(np.float32) * np.float32(2.0**-24)


def _box_muller(uniform: np.ndarray) -> np.ndarray:
    groups = uniform.reshape(-1, 2, _GROUP // 2)
    radius = np.sqrt(-2 * np.log1p(-groups[:, 0]))
    angle = np.float32(2 * np.pi) * groups[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)

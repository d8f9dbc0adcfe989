"""Joining sounds: what is kept is kept bit for bit, fades add up to one, and bands and levels are what they should be."""

import numpy as np
import pytest

from audiocm.audio.seams import fade_in, high_pass, match_level, match_seams, splice

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("samples", [0, 1, 2, 480])
def test_a_fade_and_its_reverse_add_up_to_one(samples):
    np.testing.assert_allclose(fade_in(samples) + fade_in(samples)[::-1], 1, atol=1e-12)


@pytest.mark.parametrize("shape", [(1000,), (1000, 2)])
@pytest.mark.parametrize(("first", "end"), [(300, 400), (0, 50), (950, 1000), (10, 990)])
def test_splice_keeps_all_but_the_interval_and_its_seams(shape, first, end):
    sound, made = RNG.uniform(-1, 1, (2, *shape)).astype(np.float32)
    joined = splice(sound, made, first, end, seam=20)
    left, right = max(first - 20, 0), min(end + 20, 1000)
    np.testing.assert_array_equal(joined[first:end], made[first:end])
    np.testing.assert_array_equal(joined[:left], sound[:left])
    np.testing.assert_array_equal(joined[right:], sound[right:])
    low, high = np.minimum(sound, made), np.maximum(sound, made)
    assert ((joined >= low - 1e-6) & (joined <= high + 1e-6)).all()
    assert joined.dtype == sound.dtype


@pytest.mark.parametrize(("frequency", "kept"), [(1000, 0), (3500, 0), (4500, 1), (9000, 1)])
def test_high_pass_has_no_delay(frequency, kept):
    wave = np.sin(2 * np.pi * frequency * np.arange(24000) / 24000)
    np.testing.assert_allclose(high_pass(wave, 24000, 4000)[2000:-2000], kept * wave[2000:-2000], atol=5e-3)


def test_match_level_has_the_level_of_the_reference_within_its_limit():
    made, reference = RNG.standard_normal((2, 500))
    assert np.std(match_level(made * 3, reference)) == pytest.approx(np.std(reference), rel=0.05)
    np.testing.assert_allclose(match_level(made * 1e-3, reference, limit=20), made * 1e-2)


@pytest.mark.parametrize("shape", [(3000,), (3000, 2)])
def test_match_seams_brings_both_ends_to_the_level_beside_them(shape):
    rng = np.random.default_rng(0)
    sound, made = (rng.standard_normal(shape).astype(np.float32) * scale for scale in (0.05, 0.1))
    sound[2000:] *= 4  # louder after the interval than before
    matched = match_seams(made, sound, 1000, 2000, rate=1000)
    assert np.array_equal(matched[:1000], made[:1000]) and np.array_equal(matched[2000:], made[2000:])
    for near, beside in ((matched[1000:1100], sound[900:1000]), (matched[1900:2000], sound[2000:2100])):
        np.testing.assert_allclose(near.std(0), beside.std(0), rtol=0.2)
    middle = slice(1250, 1750)
    np.testing.assert_allclose(matched[middle], made[middle], rtol=1e-6)


def test_match_seams_has_a_limit_and_no_louder_samples_than_full_scale():
    made = np.full(3000, 0.1, np.float32)
    quiet, loud = np.full(3000, 1e-4, np.float32), np.full(3000, 0.9, np.float32)
    assert match_seams(made, quiet, 1000, 2000, 1000)[1000] == pytest.approx(0.1 * 10 ** (-8 / 20), rel=1e-3)
    assert match_seams(made, loud, 0, 2000, 1000)[0] == np.float32(0.1)  # nothing is before it
    assert np.abs(match_seams(made * 8, loud, 1000, 2000, 1000)).max() <= 0.99
    assert match_seams(np.zeros(3000, np.float32), loud, 1000, 2000, 1000).any() == np.False_

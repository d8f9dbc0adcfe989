"""Synthesised water, weather, textures, engines and machines: equations of their models, and takes that can be used."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import welch

from recipes.corpora.everyday import clouds, engines, machines, textures, water, weather
from recipes.corpora.everyday.sound import Sound
from recipes.corpora.manifests import RATE, rng_for

TABLES = {"textures.tsv": (water, weather, textures), "machines.tsv": (engines, machines)}
SOUNDS = {name: sound for modules in TABLES.values() for module in modules for name, sound in module.SOUNDS.items()}
CLASSES = set((Path(__file__).parents[2] / "audiocm/embedders/audioset_classes.txt").read_text().splitlines())


def spectrum(wav: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns frequencies in Hz and magnitudes, finely interpolated."""
    count = 4 * len(wav)
    return np.fft.rfftfreq(count, 1 / RATE), np.abs(np.fft.rfft(wav * np.hanning(len(wav)), count))


def peak(wav: np.ndarray, low: float = 0.0, high: float = RATE / 2) -> float:
    """Returns the frequency in Hz of the strongest line between two frequencies."""
    hz, magnitude = spectrum(wav)
    return float(hz[np.argmax(magnitude * ((hz >= low) & (hz <= high)))])


def fields(sound: Sound) -> set[str]:
    return {name for words in sound.captions for _, name, _, _ in string.Formatter().parse(words) if name}


@pytest.mark.parametrize("name", SOUNDS)
def test_a_take_is_sound_of_the_asked_length_with_true_words(name: str) -> None:
    sound = SOUNDS[name]
    takes = []
    for number, seconds in enumerate((max(sound.seconds[0], 2.0), 3.0 if sound.seconds[0] < 3 else 4.5)):
        wav, words = sound.make(rng_for("test", name, number), seconds)
        assert len(wav) == round(seconds * RATE) and wav.dtype == np.float32
        assert np.isfinite(wav).all() and 0.1 < np.abs(wav).max() <= 1 and abs(wav.mean()) < 0.05 * wav.std()
        assert fields(sound) <= set(words)
        takes.append((wav, words))
    again, words = sound.make(rng_for("test", name, 0), len(takes[0][0]) / RATE)
    assert np.array_equal(again, takes[0][0]) and words == takes[0][1]
    assert not np.array_equal(takes[0][0], takes[1][0][: len(again)])
    if sound.continuous:
        power = np.square(takes[1][0].astype(np.float64))
        seconds = [power[at : at + RATE].mean() for at in range(0, len(power) - RATE + 1, RATE // 2)]
        assert min(seconds) > 1e-3 * power.mean()


@pytest.mark.parametrize("name", SOUNDS)
def test_captions_are_many_and_labels_are_known(name: str) -> None:
    sound = SOUNDS[name]
    assert 6 <= len(sound.captions) == len(set(sound.captions)) <= 14
    lengths = [len(words.split()) for words in sound.captions]
    assert min(lengths) <= 2 < max(lengths)
    assert sound.labels and set(sound.labels) <= CLASSES
    assert 0 < sound.seconds[0] < sound.seconds[1] <= 10


@pytest.mark.parametrize("table", TABLES)
def test_the_tables_have_no_other_names(table: str) -> None:
    lines = (Path(clouds.__file__).parent / table).read_text(encoding="utf-8").splitlines()[1:]
    assert sorted(line.split("\t")[0] for line in lines) == sorted(n for m in TABLES[table] for n in m.SOUNDS)


@pytest.mark.parametrize("radius", [0.001, 0.003, 0.008])
def test_a_bubble_rings_at_the_frequency_of_minnaert(radius: float) -> None:
    pressure, density, gamma = 101325, 998, 1.4
    expected = np.sqrt(3 * gamma * pressure / density) / (2 * np.pi * radius)
    wav = clouds.bubbles(rng_for("bubble", radius), np.full(RATE, 20.0), (radius, 1.0001 * radius), rise=0.0)
    assert abs(peak(wav) / expected - 1) < 0.02


def test_a_bubble_decays_and_rises() -> None:
    still, rising = (clouds.ring_all(RATE, [0], [800.0], [20.0], [1.0], rise) for rise in (0.0, 0.5))
    ratio = np.abs(still[4800:4860]).max() / np.abs(still[:60]).max()
    assert abs(ratio / np.exp(-20 * 0.2) - 1) < 0.05
    assert np.array_equal(still[:1], [0.0]) and abs(peak(still[2400:4800]) - 800) < 10
    moved = peak(rising[2400:4800], 200, 4000)  # at 0.1 to 0.2 s, 800 Hz * (1 + 0.5 * 20 * time)
    assert 800 * (1 + 10 * 0.1) < moved < 800 * (1 + 10 * 0.2)


def test_the_power_law_has_its_density() -> None:
    found = clouds.power_law(rng_for("power"), 1.0, 8.0, 2.0, 40000)
    assert found.min() >= 1 and found.max() <= 8
    share = (1 - 1 / 2) / (1 - 1 / 8)  # of x^-2 between 1 and 2
    assert abs((found < 2).mean() - share) < 0.01


def test_bands_of_turbulence_fluctuate_apart() -> None:
    wav = clouds.turbulence(rng_for("turbulence"), 8.0, ((20, 0), (12000, 0)), 0.8, 4.0)
    frames = np.abs(np.fft.rfft(wav[: len(wav) // 480 * 480].reshape(-1, 480))) ** 2
    bands = [np.log(frames[:, low:high].sum(1)) for low, high in ((4, 8), (12, 20), (60, 120))]
    bands = [np.convolve(band, np.ones(5) / 5, "valid") for band in bands]
    assert min(band.std() for band in bands) > 0.8
    assert abs(np.corrcoef(bands[0], bands[2])[0, 1]) < 0.4


def test_distant_thunder_is_duller() -> None:
    centres = []
    for distance in (400.0, 5000.0):
        hz, power = welch(weather.bolt(rng_for("thunder"), 4.0, distance), RATE, nperseg=4096)
        centres.append((hz * power).sum() / power.sum())
    assert centres[1] < 0.6 * centres[0]


@pytest.mark.parametrize(("name", "slope"), [("white noise", 0.0), ("pink noise", -3.01), ("brown noise", -6.02)])
def test_noise_has_its_slope(name: str, slope: float) -> None:
    hz, power = welch(SOUNDS[name].make(rng_for(name), 10.0)[0], RATE, nperseg=8192)
    inside = (hz > 60) & (hz < 6000)
    assert abs(np.polyfit(np.log2(hz[inside]), 10 * np.log10(power[inside]), 1)[0] - slope) < 0.3


@pytest.mark.parametrize(("rpm", "cylinders"), [(800, 4), (1200, 6), (3000, 1)])
def test_an_engine_sounds_its_firing_rate(rpm: float, cylinders: int) -> None:
    expected = rpm / 60 * cylinders / 2
    wav = engines.engine(rng_for(rpm), np.full(4 * RATE, expected), 4, 120.0, uneven=0.0, jitter=0.0)
    hz, magnitude = spectrum(wav)
    for order in (1, 2, 3):
        on, off = (magnitude[np.abs(hz - at * expected) < 1].max() for at in (order, order + 0.5))
        assert on > 5 * off
    assert engines.firings(rng_for(rpm), np.full(4 * RATE, expected), 4, 0.1, 0.01).astype(bool).sum() == pytest.approx(
        4 * expected, abs=2
    )


def test_an_idling_engine_turns_slowly() -> None:
    rpm = (600.0, 3000.0)
    for take in range(8):
        idle, run = (engines.pace(rng_for(take), 2.0, rpm, 4, mode) * 120 / 4 for mode in ("idles", "runs"))
        assert 0.9 * rpm[0] < idle.min() and idle.max() < 1.6 * rpm[0] and 1.1 * rpm[0] < run.min() < 1.1 * rpm[1]
        assert 30 * np.ptp(engines.pace(rng_for(take), 2.0, rpm, 4, "revs")) > 10 * np.ptp(idle)


def test_a_passing_source_is_shifted_by_doppler() -> None:
    speed, tone = 30.0, np.sin(2 * np.pi * 1000 * np.arange(6 * RATE) / RATE)
    wav = engines.passage(tone, rng_for("pass"), speed, 1.0, 3.0)
    ratio = peak(wav[: 2 * RATE]) / peak(wav[-2 * RATE :])
    assert abs(ratio - (343 + speed) / (343 - speed)) < 0.01
    loud = [np.abs(wav[at : at + RATE // 4]).max() for at in (0, 3 * RATE - RATE // 8, 5 * RATE)]
    assert loud[1] > 10 * max(loud[0], loud[2])


def test_mains_hum_lies_at_multiples_of_the_mains() -> None:
    for take in range(4):
        wav, words = SOUNDS["mains hum"].make(rng_for("hum", take), 4.0)
        order = peak(wav, 80) / float(words["hz"])
        assert words["hz"] in ("50", "60") and abs(order - round(order)) < 0.02 and order > 1.5


def test_more_people_applaud_more_steadily() -> None:
    crest = []
    for name in ("clapping", "applause"):
        wav, _ = SOUNDS[name].make(rng_for(name), 4.0)
        frames = wav[: len(wav) // 480 * 480].reshape(-1, 480).std(1)
        crest.append(frames.max() / np.median(frames))
    assert crest[0] > 2 * crest[1]


def test_surfaces_and_strengths_of_rain_are_named() -> None:
    words = [SOUNDS["rain on a roof"].make(rng_for("roof", take), 2.0)[1] for take in range(30)]
    assert {one["surface"] for one in words} == set(weather.SURFACES)
    assert {one["strength"] for one in words} == set(weather.STRENGTHS)

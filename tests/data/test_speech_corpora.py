"""The layouts of speech corpora, and folders that are none."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiocm.data.latents import Latents, pack
from audiocm.data.manifest import split_of
from audiocm.data.speech_corpora import ljspeech_clips, read_speech_corpus, transcribed_clips, vctk_clips


def write(path: Path, seconds: float = 0.5) -> None:
    """A quiet sound file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(int(8000 * seconds), np.float32), 8000)


def test_ljspeech(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / "wavs" / f"{name}.wav")
    (tmp_path / "metadata.csv").write_text("one|Dr. A|Doctor A\ntwo|Yes.|\n\n", encoding="utf-8")
    clips = read_speech_corpus(tmp_path)
    assert clips == ljspeech_clips(tmp_path) and [clip.text for clip in clips] == ["Doctor A", "Yes."]
    first = clips[0]
    assert first.file == "wavs/one.wav" == first.group and first.path == tmp_path / "wavs" / "one.wav"
    assert (first.voice, first.source, first.kind, first.seconds) == (tmp_path.name, tmp_path.name, "speech", 0.5)
    assert first.split == split_of("wavs/one.wav")
    (tmp_path / "wavs" / "two.wav").write_text("no sound")
    with pytest.raises(ValueError, match=r"two\.wav cannot be read"):
        read_speech_corpus(tmp_path)


def test_vctk(tmp_path):
    write(tmp_path / "wav48" / "p1" / "p1_1.wav")
    write(tmp_path / "wav48" / "p2" / "p2_1.wav", 2.0)
    write(tmp_path / "wav48_silence_trimmed" / "p2" / "p2_1_mic1.flac", 1.0)
    for name in ("p1/p1_1", "p2/p2_1", "p2/p2_2"):
        text = tmp_path / "txt" / f"{name}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(f"{text.stem}.\n", encoding="utf-8")
    clips = read_speech_corpus(tmp_path)
    assert clips == vctk_clips(tmp_path)
    assert [(clip.voice, clip.text, clip.seconds) for clip in clips] == [("p1", "p1_1.", 0.5), ("p2", "p2_1.", 1.0)]


def test_transcripts_beside_sounds(tmp_path):
    for name in ("a.wav", "deep/b.FLAC", "c.ogg"):
        write(tmp_path / name)
    for name in ("a.txt", "deep/b.txt", "other.txt"):
        (tmp_path / name).write_text(" Some words.\n", encoding="utf-8")
    clips = read_speech_corpus(tmp_path)
    assert clips == transcribed_clips(tmp_path) and [clip.file for clip in clips] == ["a.wav", "deep/b.FLAC"]
    assert {(clip.voice, clip.text) for clip in clips} == {(tmp_path.name, "Some words.")}


def test_manifest_and_packed_latents(tmp_path):
    lines = [
        {"file": "a.wav", "seconds": 1, "kind": "speech", "text": "Hi.", "voice": "anna", "split": "valid"},
        {"file": "b.wav", "seconds": 1, "kind": "speech"},
        {"file": "c.wav", "seconds": 1, "kind": "effect", "text": "bang"},
    ]
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    clips = read_speech_corpus(tmp_path)
    assert [(clip.file, clip.voice, clip.split) for clip in clips] == [("a.wav", "anna", "valid")]
    lengths = torch.tensor([3])
    latents = Latents(clips, torch.zeros(3, 2).half(), torch.tensor([0]), lengths, torch.zeros(2))
    pack(latents, tmp_path / "packed.safetensors")
    assert read_speech_corpus(tmp_path / "packed.safetensors") == clips


def test_other_folders_are_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ValueError, match="no speech corpus"):
            read_speech_corpus(folder)

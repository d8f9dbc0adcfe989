"""Manifests are read or refused with their line; splits; reading of clips."""

import numpy as np
import pytest
import soundfile

from audiocm.data.manifest import Clip, content_keys, in_split, read_manifest, read_waves, split_of, warn_of_skipped


def test_manifest_splits(corpus):
    assert [c.file for c in read_manifest(corpus, in_split("test"))] == ["11.flac"]
    clip = read_manifest(corpus)[4]
    assert clip.captions == ("e", "ee") and clip.path == corpus.parent / "4.flac"


@pytest.mark.parametrize(
    "line, reason",
    [
        ("{not json", "line 2"),
        ('{"file": "x.wav"}', "without seconds"),
        ('{"file": "x.wav", "seconds": 0}', "seconds 0"),
        ('{"file": "x.wav", "seconds": 1, "split": "dev"}', "split 'dev' is not one of train, valid, test"),
        ('{"file": "x.wav", "seconds": 1, "captions": [" "]}', "captions"),
        ('{"file": "../x.wav", "seconds": 1}', "must lie under"),
        ('{"file": "a.wav", "seconds": 1}', "also in line 1"),
        ("[1]", "not a JSON object"),
    ],
)
def test_manifest_names_the_bad_line(tmp_path, line, reason):
    path = tmp_path / "manifest.jsonl"
    path.write_text('{"file": "a.wav", "seconds": 1}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"manifest .*line 2") as error:
        read_manifest(path)
    assert reason in str(error.value)


def test_missing_or_empty_manifest(tmp_path, corpus):
    with pytest.raises(ValueError, match="no such file"):
        read_manifest(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="no clip"):
        read_manifest(corpus, in_split("valid"))


def test_split_of_is_a_function_of_the_key_with_the_asked_shares():
    splits = [split_of(f"clip {i}") for i in range(4000)]
    assert splits == [split_of(f"clip {i}") for i in range(4000)]
    assert abs(splits.count("test") / 4000 - 0.06) < 0.015 and abs(splits.count("valid") / 4000 - 0.04) < 0.015
    assert {split_of(f"{i}", 0.0, 0.0) for i in range(100)} == {"train"}


def test_unreadable_clips_are_skipped_with_their_reason(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(100, 0.5, np.float32), 8000)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.float32), 8000)
    (tmp_path / "text.wav").write_text("no sound")
    clips = [Clip(name, tmp_path / name, 1.0) for name in ("text.wav", "a.wav", "gone.wav", "empty.wav")]
    skipped: dict[str, str] = {}
    assert [(clip.file, len(wave)) for clip, wave in read_waves(clips, 8000, skipped)] == [("a.wav", 100)]
    assert list(skipped) == ["text.wav", "gone.wav", "empty.wav"] and skipped["empty.wav"] == "is empty"
    missing: dict[str, str] = {}
    keys = content_keys(clips, missing)
    assert list(keys) == ["text.wav", "a.wav", "empty.wav"] and {len(key) for key in keys.values()} == {24}
    assert missing == {"gone.wav": "cannot be read: No such file or directory"}
    with pytest.warns(UserWarning, match=r"^7 of 9 clips left out: 0 bad; 1 bad; .*4 bad; and 2 more$"):
        warn_of_skipped({str(i): "bad" for i in range(7)}, 9)

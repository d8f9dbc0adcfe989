"""Data sets of others: folders, manifests and shards; their cache on disk; batches that any number of ranks repeats."""

import csv
import io
import json
import os
import tarfile
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
import torch

from audiocm.audio.io import write_wave
from audiocm.data import encoded, encoded_set
from audiocm.data.encoded import encode_recordings
from audiocm.data.encoded_batches import EncodedBatches
from audiocm.data.recordings import captions_in, find_recordings, read_parts
from audiocm.diffusion.denoiser import Condition

RATE, FRAME = 8000, 100


class Killed(BaseException):
    """Stands for a killed process."""


class Encoder:
    """A latent frame is the mean of 100 samples. A prompt has as many tokens as letters; its pooled state tells seconds."""

    def __init__(self, channels=1, stop_after=None, one_window=False):
        self.sample_rate, self.channels, self.stop_after, self.one_window = RATE, channels, stop_after, one_window
        self.encoded, self.prompts = 0, []

    def latent_shape(self, seconds):
        return (self.channels, 8 if self.one_window else int(seconds * RATE) // FRAME)

    def encode(self, wav):
        if wav.abs().sum() > 0:
            self.encoded += len(wav)
        if self.stop_after is not None and self.encoded > self.stop_after:
            raise Killed
        wav = wav[:, None] if self.channels == 1 else wav
        latent = wav.unflatten(2, (-1, FRAME)).mean(3)
        return torch.nn.functional.pad(latent, (0, 8 - latent.shape[2])) if self.one_window else latent

    def condition(self, prompts, seconds):
        self.prompts += prompts
        tokens, mask = torch.zeros(len(prompts), 12, 2), torch.zeros(len(prompts), 12, dtype=torch.bool)
        for i, prompt in enumerate(prompts):
            mask[i, : len(prompt)] = True
            tokens[i, : len(prompt), 0] = torch.tensor([float(ord(letter)) for letter in prompt])
        return Condition(tokens=tokens, token_mask=mask, pooled=torch.full((len(prompts), 1), seconds))


def level(value, samples=800, channels=1):
    return np.full((samples, channels), value, np.float32)


def write_folder(folder, count=6):
    """Sounds of constant level i / 20; the caption is a letter, in .txt and .json in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        soundfile.write(folder / f"{i:02d}.flac", level((i + 1) / 20), RATE)
        text = chr(97 + i)
        name, content = (f"{i:02d}.txt", text + "\n") if i % 2 else (f"{i:02d}.json", json.dumps({"caption": text}))
        (folder / name).write_text(content)
    return folder


def as_bytes(wav, form="FLAC"):
    file = io.BytesIO()
    soundfile.write(file, wav, RATE, format=form)
    return file.getvalue()


def write_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def captions_by_name(source):
    return {one.name: one.captions for one in find_recordings(source)[0]}


# --- finding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, expected",
    [
        (" a dog \n barks ", ("a dog barks",)),
        (["a", "", "b", "a", 3], ("a", "b")),
        ({"caption": "a", "text": "b"}, ("a",)),
        ({"text": ["a", "b"]}, ("a", "b")),
        ({"Caption_1": "a", "caption_2": "b", "captioned": "c"}, ("a", "b")),
        ({"caption": "", "prompt": "p"}, ("p",)),
        ({"label": "a"}, ()),
        (None, ()),
    ],
)
def test_captions_of_json_and_manifests(value, expected):
    assert captions_in(value) == expected


def test_a_folder_its_manifests_and_its_shards_list_the_same(tmp_path):
    folder = write_folder(tmp_path / "data" / "deep")
    expected = {f"{i:02d}": (chr(97 + i),) for i in range(6)}
    lines = [{"file": f"data/deep/{i:02d}.flac", "captions": list(expected[f"{i:02d}"])} for i in range(6)]
    unused = {"file": "data/deep/00.flac", "caption": "not used", "split": "test"}
    (tmp_path / "m.jsonl").write_text("\n".join(json.dumps(line) for line in [*lines, unused]))
    with (tmp_path / "m.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "caption_1", "caption_2"])
        writer.writerows([line["file"], line["captions"][0], ""] for line in lines)
    members = {f"x/{file.name}": file.read_bytes() for file in sorted(folder.iterdir())}
    write_tar(tmp_path / "shards-0.tar", members)
    for source in ("data", "m.jsonl", "m.csv", "shards-0.tar"):
        found = captions_by_name(tmp_path / source)
        assert {name.split("/")[-1].split(".")[0]: one for name, one in found.items()} == expected
    in_file, in_tar = (find_recordings(tmp_path / name)[0][3] for name in ("data", "shards-0.tar"))
    assert np.array_equal(read_parts(in_file, RATE, 1, 800)[0][0], read_parts(in_tar, RATE, 1, 800)[0][0])
    assert find_recordings(tmp_path / "data") == find_recordings(tmp_path / "data")


def test_captions_of_a_file_that_is_listed_twice_are_joined(tmp_path):
    write_folder(tmp_path, 1)
    (tmp_path / "m.csv").write_text("file,caption\n00.flac,one\n00.flac,two\n")
    assert captions_by_name(tmp_path / "m.csv") == {"00.flac": ("one", "two")}


def test_what_cannot_be_used_is_named(tmp_path):
    folder = write_folder(tmp_path / "data", 1)
    soundfile.write(folder / "lonely.wav", level(0.1), RATE)
    soundfile.write(folder / "broken.wav", level(0.1), RATE)
    (folder / "broken.json").write_text("{")
    soundfile.write(folder / "latin.wav", level(0.1), RATE)
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    (folder / "song.m4a").write_bytes(b"")
    (folder / ".hidden.wav").write_bytes(b"")
    write_tar(folder / "a.tar", {"s.flac": as_bytes(level(0.1)), "t.flac": as_bytes(level(0.2)), "t.txt": b"t"})
    whole = write_tar(
        folder / "b.tar", {"u.txt": b"u", "u.flac": as_bytes(level(0.1, 9000)), "v.txt": b"v"}
    ).read_bytes()
    (folder / "b.tar").write_bytes(whole[:1300])
    (folder / "c.tar").write_bytes(b"no tar at all" * 100)
    found, skipped = find_recordings(folder)
    assert [one.name for one in found][:2] == ["00.flac", "a.tar/t.flac"]
    reasons = {
        "lonely.wav": "has no caption",
        "broken.wav": "json",
        "latin.wav": "UTF-8",
        "song.m4a": "format",
        "a.tar/s.flac": "has no caption",
        "b.tar": "damaged shard",
        "c.tar": "not a tar file",
    }
    assert skipped.keys() == reasons.keys()
    assert all(reason in skipped[name] for name, reason in reasons.items())


def test_data_that_is_none_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "plain").mkdir()
    soundfile.write(tmp_path / "plain" / "a.wav", level(0.1), RATE)
    (tmp_path / "a.zip").write_bytes(b"")
    (tmp_path / "m.csv").write_text("sound,words\na.wav,b\n")
    (tmp_path / "gone.csv").write_text("file,caption\nnowhere.wav,b\n")
    wrong = {
        "nowhere": "no such file or folder",
        "empty": "no sound in it",
        "plain": "none of 1 sounds has a caption: put NAME.txt",
        "a.zip": "must be a folder, or end in .tar",
        "m.csv": "entry 1: without a field file",
        "gone.csv": "nowhere.wav: cannot be read",
    }
    for name, words in wrong.items():
        with pytest.raises(ValueError, match=words):
            find_recordings(tmp_path / name)


# --- reading ---------------------------------------------------------------------------------------------------------


def parts_of(tmp_path, wav, rate=RATE, channels=1, samples=800):
    soundfile.write(tmp_path / "a.wav", wav, rate, subtype="FLOAT")
    (tmp_path / "a.txt").write_text("a")
    return read_parts(find_recordings(tmp_path)[0][0], RATE, channels, samples)


def test_long_recordings_are_read_in_parts(tmp_path):
    wav = np.concatenate([level(0.1), level(0.2), level(0.0), level(0.4), level(0.5, 300)])
    parts = parts_of(tmp_path, wav)
    assert [(round(float(part[0, 0]), 3), seconds) for part, seconds in parts] == [(0.1, 0.1), (0.2, 0.1), (0.4, 0.1)]
    assert all(part.shape == (1, 800) for part, _ in parts)
    parts = parts_of(tmp_path, np.concatenate([level(0.1), level(0.5, 500)]))
    assert parts[1][1] == 500 / RATE and parts[1][0][0, 499] == 0.5 and parts[1][0][0, 500] == 0
    parts = parts_of(tmp_path, level(0.3, 300))
    assert len(parts) == 1 and parts[0][1] == 300 / RATE


def test_channels_and_rates_become_those_of_the_encoder(tmp_path):
    stereo = np.stack([np.full(1600, 0.2), np.full(1600, 0.4)], 1).astype(np.float32)
    mono = parts_of(tmp_path, stereo, rate=2 * RATE)[0][0]
    assert mono.shape == (1, 800) and np.allclose(mono[0, 100:700], 0.3, atol=1e-3)
    both = parts_of(tmp_path, stereo[:800], channels=2)[0][0]
    assert np.array_equal(both[:, 5], np.float32([0.2, 0.4]))
    copied = parts_of(tmp_path, level(0.2), channels=2)[0][0]
    assert copied.shape == (2, 800) and np.array_equal(copied[0], copied[1])


@pytest.mark.parametrize(
    "wav, words", [(level(np.nan), "not finite"), (level(0.0), "silent"), (level(0.0, 0), "empty"), (None, "be read")]
)
def test_sounds_that_cannot_be_used_say_why(tmp_path, wav, words):
    if wav is None:
        (tmp_path / "a.wav").write_bytes(b"RIFFnonsense")
        (tmp_path / "a.txt").write_text("a")
        with pytest.raises(ValueError, match=words):
            read_parts(find_recordings(tmp_path)[0][0], RATE, 1, 800)
    else:
        with pytest.raises(ValueError, match=words):
            parts_of(tmp_path, wav)


def test_what_is_no_whole_file_is_left_out(tmp_path):
    """A pipe would be waited for; a folder, a link to nowhere and a file without its end are no sounds either."""
    write_wave(tmp_path / "whole.wav", level(0.2), RATE)
    write_wave(tmp_path / "cut.wav", level(0.2, 4000), RATE)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:600])
    os.mkfifo(tmp_path / "pipe.wav")
    os.mkfifo(tmp_path / "shard.tar")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "nowhere.wav").symlink_to("gone")
    for name in ("whole", "cut", "pipe", "nowhere"):
        (tmp_path / f"{name}.txt").write_text("a")
    found, skipped = find_recordings(tmp_path)
    assert [one.name for one in found] == ["cut.wav", "whole.wav"]
    assert set(skipped) == {"pipe.wav", "nowhere.wav", "shard.tar"} and "pipe" in skipped["shard.tar"]
    with pytest.raises(ValueError, match="its end is missing: it holds"):
        read_parts(found[0], RATE, 1, 800)


def test_cases_of_names_do_not_count(tmp_path):
    write_wave(tmp_path / "a.wav", level(0.2), RATE)
    (tmp_path / "a.wav").rename(tmp_path / "Take1.WAV")
    (tmp_path / "TAKE1.TXT").write_text("a dog")
    (tmp_path / "m.csv").write_text("File, Caption ,SPLIT\nTake1.WAV,a cat,train\n")
    assert find_recordings(tmp_path)[0][0].captions == ("a dog",)
    assert find_recordings(tmp_path / "m.csv")[0][0].captions == ("a cat",)


def test_linked_folders_are_searched_once(tmp_path):
    (tmp_path / "real").mkdir()
    write_wave(tmp_path / "real" / "a.wav", level(0.2), RATE)
    (tmp_path / "real" / "a.txt").write_text("a")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "back").symlink_to(tmp_path / "data")
    assert [one.name for one in find_recordings(tmp_path / "data")[0]] == ["link/a.wav"]


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "no entry"),
        ("file,caption\n", "no entry"),
        ("file,caption,split\na.wav,a,test\n", "none of 1 entries is of the split train"),
        ("file;caption\na.wav;a\n", "it has file;caption"),
        ("file,caption\na.wav," + "x" * 200_000 + "\n", "m.csv: field larger"),
        ("file,caption\na\0.wav,a\n", "null"),
    ],
)
def test_manifests_that_name_no_sound_say_why(tmp_path, text, words):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        find_recordings(tmp_path / "m.csv")


# --- the cache -------------------------------------------------------------------------------------------------------


def encode(folder, encoder, cache=None, **options):
    recordings, skipped = find_recordings(folder)
    return encode_recordings(recordings, encoder, cache or folder.parent / "cache", 0.1, 2, skipped, **options)


def test_each_recording_is_encoded_once_and_read_as_it_was(tmp_path):
    folder = write_folder(tmp_path / "data")
    first, second = Encoder(), Encoder()
    data = encode(folder, first)
    rows = np.arange(len(data))
    assert (
        len(data) == 6 and first.encoded == 6 and first.prompts == list("abcdef") and data.seconds == pytest.approx(0.6)
    )
    levels = torch.arange(1, 7)[:, None, None] / 20
    assert torch.allclose(data.latents(rows), levels.expand(6, 1, 8), atol=2e-4)
    again = encode(folder, second)
    assert second.encoded == 0 and second.prompts == []
    assert torch.equal(again.latents(rows), data.latents(rows))
    soundfile.write(folder / "02.flac", level(0.5), RATE)  # one that has changed
    os.utime(folder / "02.flac", (1, 1))
    (folder / "03.txt").write_text("another")  # captions do not belong to the sound
    changed = encode(folder, second)
    assert second.encoded == 1 and second.prompts == ["another"]
    assert torch.allclose(changed.latents(rows)[2], torch.tensor(0.5), atol=1e-3)


def test_conditions_are_read_as_the_encoder_made_them(tmp_path, monkeypatch):
    monkeypatch.setattr(encoded, "SHARD_CAPTIONS", 2)
    folder = write_folder(tmp_path / "data", 4)
    (folder / "01.txt").write_text("the longest\nb\na")
    (folder / "03.txt").write_text("")
    with pytest.warns(UserWarning, match="1 of 4 clips left out: 03.flac has no caption"):
        data = encode(folder, Encoder())
    captions = ["a", "the longest", "b", "c"]
    assert [
        data.caption_ids[i:j].tolist() for i, j in zip(data.first_caption, data.first_caption[1:], strict=False)
    ] == [
        [0],
        [1, 2, 0],
        [3],
    ]
    ours, theirs = data.conditions(np.arange(4)), Encoder().condition(captions, 0.1)
    assert torch.equal(ours.tokens, theirs.tokens) and torch.equal(ours.token_mask, theirs.token_mask)
    assert torch.allclose(ours.pooled, theirs.pooled, atol=1e-4) and ours.pooled.dtype == torch.float32
    stored = sum(file.stat().st_size for file in (tmp_path / "cache" / "conditions").glob("*.safetensors"))
    assert stored < 4 * 12 * 2 * 4 + 2 * 500  # padding is not stored: 14 of 48 tokens are there


def test_a_teacher_of_one_window_is_told_the_length_of_each_sound(tmp_path):
    folder = write_folder(tmp_path / "data", 2)
    soundfile.write(folder / "00.flac", level(0.3, 5600), RATE)
    recordings, _ = find_recordings(folder)
    for one_window, expected in ((True, [0.7, 0.1]), (False, [0.8, 0.8])):
        cache = tmp_path / str(one_window)
        data = encode_recordings(recordings, Encoder(one_window=one_window), cache, 0.8)
        assert data.conditions(np.arange(len(data.condition_places))).pooled[:, 0].tolist() == pytest.approx(
            expected, abs=1e-3
        )
    with pytest.raises(ValueError, match="seconds must be a positive number"):
        encode_recordings(recordings, Encoder(), tmp_path / "c", 0.0)


def test_bad_recordings_are_named_once_and_not_tried_again(tmp_path):
    folder = write_folder(tmp_path / "data", 5)
    (folder / "01.flac").write_bytes(b"fLaC and nothing else")
    soundfile.write(folder / "02.flac", level(0.0), RATE)

    class Poisoned(Encoder):
        def encode(self, wav):
            latent = super().encode(wav)
            return torch.where((latent - 0.2).abs() < 0.01, torch.nan, latent)  # of sound 3

    encoder = Poisoned()
    for _ in range(2):
        with pytest.warns(
            UserWarning, match="3 of 5 clips left out: 01.flac cannot be read.*02.flac is silent; 03.flac"
        ):
            data = encode(folder, encoder)
        assert len(data) == 2 and data.skipped.keys() == {"01.flac", "02.flac", "03.flac"}
    assert encoder.encoded == 3
    for name in ("00.flac", "04.flac"):
        soundfile.write(folder / name, level(0.0), RATE)
        os.utime(folder / name, (1, 1))
    with pytest.raises(ValueError, match="none of 5 recordings can be used: 0"):
        encode(folder, Encoder())


def test_prompts_that_are_cut_are_one_warning(tmp_path):
    class Cutting(Encoder):
        def condition(self, prompts, seconds):
            for prompt in prompts:
                warnings.warn(f"prompt {prompt!r} has 9 tokens and is cut to 8", stacklevel=2)
            warnings.warn("something else", stacklevel=2)
            return super().condition(prompts, seconds)

    with pytest.warns(UserWarning) as caught:
        encode(write_folder(tmp_path / "data", 3), Cutting())
    said = [str(one.message) for one in caught]
    assert len(said) == 2 and "is cut to 8, and so are " in said[0] and said[1] == "something else"


def test_a_killed_encoding_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(encoded, "SHARD_RECORDINGS", 2)
    folder = write_folder(tmp_path / "data")
    with pytest.raises(Killed):
        encode(folder, Encoder(stop_after=4))
    assert not list((tmp_path / "cache").rglob("*.partial"))
    second = Encoder()
    data = encode(folder, second)
    assert second.encoded == 2 and len(data) == 6
    whole = encode(folder, Encoder(), tmp_path / "other")
    assert torch.equal(data.latents(np.arange(6)), whole.latents(np.arange(6)))


def test_ranks_share_the_encoding(tmp_path, monkeypatch):
    monkeypatch.setattr(encoded, "SHARD_RECORDINGS", 2)
    monkeypatch.setattr(encoded, "SHARD_CAPTIONS", 2)
    folder = write_folder(tmp_path / "data")
    first, second = Encoder(), Encoder()
    barrier = threading.Barrier(2, timeout=30)
    with ThreadPoolExecutor(2) as pool:
        ranks = [
            pool.submit(encode, folder, one, rank=rank, ranks=2, wait=barrier.wait)
            for rank, one in enumerate((first, second))
        ]
    data = ranks[0].result()
    assert torch.equal(ranks[1].result().latents(np.arange(6)), data.latents(np.arange(6)))
    assert (first.encoded, second.encoded) == (4, 2) and len(data) == 6
    assert sorted(first.prompts + second.prompts) == list("abcdef")


def test_a_damaged_shard_is_one_line(tmp_path):
    folder = write_folder(tmp_path / "data")
    encode(folder, Encoder())
    (file,) = (tmp_path / "cache" / "latents").glob("*.safetensors")
    file.write_bytes(b"x")
    encoded_set._open.cache_clear()
    with pytest.raises(ValueError, match="is missing or damaged"):
        encode(folder, Encoder()).latents(np.arange(1))


# --- batches ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    folder = write_folder(tmp_path / "data", 7)
    (folder / "01.txt").write_text("b\nx\ny")
    return encode(folder, Encoder())


def taken(batches, steps):
    """Pooled letters and latents of some steps."""
    rows = [next(batches) for _ in range(steps)]
    return torch.cat([torch.cat([x[:, 0, :1], cond.tokens[:, 0]], 1) for x, cond in rows])


def test_every_row_comes_once_an_epoch(data):
    x = taken(EncodedBatches(data, 3), 14)[:, 0]
    epochs = [sorted((x[i : i + 7] * 20).round().int().tolist()) for i in range(0, 42, 7)]
    assert epochs == [list(range(1, 8))] * 6
    assert not torch.equal(x[:7], x[7:14])


def test_two_ranks_see_what_one_sees_with_the_doubled_batch_or_in_two_steps(data):
    doubled = taken(EncodedBatches(data, 4, seed=3), 10)
    halves = taken(EncodedBatches(data, 2, seed=3), 20)
    ranks = [EncodedBatches(data, 2, seed=3, rank=rank, ranks=2) for rank in range(2)]
    both = torch.cat([taken(one, 1) for _ in range(10) for one in ranks])
    assert torch.equal(doubled, both) and torch.equal(doubled, halves)
    assert not torch.equal(doubled, taken(EncodedBatches(data, 4, seed=4), 10))


def test_batches_go_on_mid_epoch_on_any_number_of_ranks(data):
    whole = taken(EncodedBatches(data, 2, seed=1), 12)
    first = EncodedBatches(data, 2, seed=1)
    assert torch.equal(taken(first, 5), whole[:10])
    state = json.loads(json.dumps(first.state_dict()))
    later = EncodedBatches(data, 2, seed=1)
    later.load_state_dict(state)
    assert torch.equal(taken(later, 7), whole[10:])
    ranks = [EncodedBatches(data, 1, seed=1, rank=rank, ranks=2) for rank in range(2)]
    for one in ranks:
        one.load_state_dict(state)
    assert torch.equal(torch.cat([taken(one, 1) for _ in range(7) for one in ranks]), whole[10:])
    with pytest.raises(ValueError, match="seed 1, not 2"):
        EncodedBatches(data, 2, seed=2).load_state_dict(state)
    with pytest.raises(ValueError, match="batch must be at least 1"):
        EncodedBatches(data, 0)


def test_captions_and_dropped_conditions_have_their_shares(data):
    batches = EncodedBatches(data, 70, dropout=0.25)
    letters, nulls = [], []
    for _ in range(20):
        x, cond = next(batches)
        letters += cond.tokens[(x[:, 0, 0] * 20).round() == 2, 0, 0].int().tolist()
        nulls.append(cond.null)
    counts = [letters.count(ord(letter)) for letter in "bxy"]
    assert sum(counts) == len(letters) == 200 and min(counts) > 40
    assert torch.cat(nulls).float().mean() == pytest.approx(0.25, abs=0.05)
    assert next(EncodedBatches(data, 2))[1].null is None

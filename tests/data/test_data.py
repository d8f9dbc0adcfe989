"""Manifest, latent cache and batches: what goes in comes out, in the right places, and the same again after a resume."""

import json
import warnings

import numpy as np
import pytest
import soundfile
import torch

from audiocm.data.batches import LatentBatches, WaveBatches, encode_captions
from audiocm.data.latents import Latents, cached_latents, codec_key, concatenate_latents, pack, unpack
from audiocm.data.manifest import Clip, in_split, read_manifest
from audiocm.diffusion.denoiser import Condition

RATE, FRAME = 8000, 100


class MeanCodec:
    """Latent frame = (mean of 100 samples, mean square): what a test can compute itself."""

    sample_rate, samples_per_frame, channels = RATE, FRAME, 2

    def __init__(self):
        self.encoded = 0

    def encode(self, wav):
        self.encoded += len(wav)
        blocks = torch.nn.functional.pad(wav, (0, -wav.shape[1] % FRAME)).unflatten(1, (-1, FRAME))
        return torch.stack([blocks.mean(2), blocks.square().mean(2)], 1)


def words(prompts):
    """Token state 0 = length of the prompt, pooled = its first letter's code."""
    tokens = torch.tensor([[[float(len(p)), 0.0]] * 3 for p in prompts])
    return Condition(
        tokens=tokens,
        token_mask=torch.ones(len(prompts), 3, dtype=torch.bool),
        pooled=torch.tensor([[float(ord(p[0]))] for p in prompts]),
    )


@pytest.fixture
def corpus(tmp_path):
    """Twelve clips of constant level i / 20 and length 300 + 130 i samples, captions "a..", "aa..", per clip."""
    lines = []
    for i in range(12):
        soundfile.write(tmp_path / f"{i}.flac", np.full(300 + 130 * i, i / 20, np.float32), RATE)
        captions = [chr(97 + i) * (1 + k) for k in range(1 + i % 3)]
        split = "test" if i == 11 else "train"
        lines.append({"file": f"{i}.flac", "seconds": (300 + 130 * i) / RATE, "split": split, "captions": captions})
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def latents_of(path, folder=None, codec=None):
    return cached_latents(read_manifest(path), codec or MeanCodec(), "k", folder or path.parent / "cache", batch=5)


# --- manifest ---------------------------------------------------------------------------------------------------------


def test_manifest_splits(corpus):
    assert [c.file for c in read_manifest(corpus, in_split("test"))] == ["11.flac"]
    clip = read_manifest(corpus)[4]
    assert clip.captions == ("e", "ee") and clip.path == corpus.parent / "4.flac"


@pytest.mark.parametrize(
    "line, says",
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
def test_manifest_names_the_bad_line(tmp_path, line, says):
    path = tmp_path / "manifest.jsonl"
    path.write_text('{"file": "a.wav", "seconds": 1}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"manifest .*line 2") as error:
        read_manifest(path)
    assert says in str(error.value)


def test_missing_or_empty_manifest(tmp_path, corpus):
    with pytest.raises(ValueError, match="no such file"):
        read_manifest(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="no clip"):
        read_manifest(corpus, in_split("valid"))


# --- latent cache -----------------------------------------------------------------------------------------------------


def test_cache_holds_each_clips_latent_and_encodes_once(corpus):
    codec = MeanCodec()
    latents = latents_of(corpus, codec=codec)
    first = codec.encoded
    for i in range(12):
        own = latents.frames[latents.starts[i] : latents.starts[i] + latents.lengths[i]].float()
        assert len(own) == -(-(300 + 130 * i) // FRAME)
        assert torch.allclose(own[:3, 0], torch.tensor(i / 20), atol=1e-3)
    again = latents_of(corpus, codec=codec)
    assert codec.encoded == first + 1  # the one is silence
    assert torch.equal(again.frames, latents.frames)
    soundfile.write(corpus.parent / "3.flac", np.full(500, 0.9, np.float32), RATE)  # new content: encoded anew
    changed = latents_of(corpus, codec=codec)
    assert codec.encoded == first + 3
    assert torch.allclose(changed.frames[changed.starts[3]].float(), torch.tensor([0.9, 0.81]), atol=1e-3)


def test_corrupt_clips_are_left_out_counted_and_named(corpus):
    (corpus.parent / "2.flac").write_bytes(b"no flac at all")
    (corpus.parent / "5.flac").unlink()
    with pytest.warns(UserWarning, match=r"2 of 12 clips left out") as seen:
        latents = latents_of(corpus)
    assert "2.flac" in str(seen[0].message) and "5.flac" in str(seen[0].message)
    assert set(latents.skipped) == {"2.flac", "5.flac"} and len(latents.clips) == 10


def test_damaged_shard_is_named(corpus):
    latents_of(corpus)
    shard = next((corpus.parent / "cache").rglob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-7])
    with pytest.raises(ValueError, match=shard.name):
        latents_of(corpus)


def test_codec_key_follows_the_weights():
    net = torch.nn.Linear(3, 3)
    before = codec_key(net)
    assert before == codec_key(net) and len(before) == 16
    with torch.no_grad():
        net.weight[0, 0] += 1e-3
    assert codec_key(net) != before


# --- latent batches ---------------------------------------------------------------------------------------------------


def batches_of(path, **changes):
    latents = latents_of(path)
    settings = {"buckets": [(16, 8), (8, 14)], "seed": 3} | changes
    return LatentBatches(latents, encode_captions(latents.clips, words), **settings)


def test_latent_batches_keep_sound_words_and_mask_together(corpus):
    batches, shapes = batches_of(corpus), set()
    for _ in range(30):
        x, cond = next(batches)
        shapes.add(tuple(x.shape))
        level = x[:, 0, 0] * 20  # = index of the clip, and its captions' letter
        letter = cond.pooled[:, 0] - 97
        assert torch.allclose(level, letter, atol=0.05)
        valid = cond.mask.sum(1)
        frames = torch.tensor([-(-(300 + 130 * int(i)) // FRAME) for i in letter])
        assert torch.equal(valid, frames.clamp_max(x.shape[2]))
        assert (x * ~cond.mask[:, None]).abs().max() == 0
    assert shapes == {(16, 2, 8), (8, 2, 14)}


def test_all_caption_variants_and_the_asked_share_of_nulls_come_up(corpus):
    batches = batches_of(corpus, dropout=0.25)
    lengths, nulls = set(), []
    for _ in range(60):
        _, cond = next(batches)
        lengths |= {(int(p), int(n)) for p, n in zip(cond.pooled[:, 0], cond.tokens[:, 0, 0], strict=True)}
        nulls.append(cond.null.float())
    assert lengths == {(97 + i, 1 + k) for i in range(12) for k in range(1 + i % 3)}
    assert abs(torch.cat(nulls).mean() - 0.25) < 0.06


def test_each_clip_keeps_its_weight_across_buckets(corpus):
    batches = batches_of(corpus, weight=lambda clip: 4.0 if clip.file == "1.flac" else 1.0)
    counts = np.zeros(12)
    for _ in range(1500):
        _, cond = next(batches)
        counts += np.bincount((cond.pooled[:, 0] - 97).long().numpy(), minlength=12)
    share = counts / counts.sum() * 15
    assert abs(share[1] - 4) < 0.4 and np.abs(np.delete(share, 1) - 1).max() < 0.25


def test_long_clips_are_cropped_anywhere():
    frames = torch.arange(40.0)[:, None].to(torch.float16)
    clip = Clip("a", None, 1.0, captions=("a",))
    latents = Latents([clip], frames, torch.tensor([0]), torch.tensor([40]), torch.zeros(1))
    batches = LatentBatches(latents, encode_captions([clip], words), [(64, 16)])
    x, cond = next(batches)
    starts = x[:, 0, 0]
    assert cond.mask.all() and torch.equal(x[:, 0], starts[:, None] + torch.arange(16))
    assert starts.min() <= 2 and starts.max() >= 22 and starts.max() <= 24


def test_tail_is_silence_inside_the_mask(corpus):
    latents = latents_of(corpus)
    latents.silence = torch.tensor([7.0, -7.0])
    batches = LatentBatches(latents, encode_captions(latents.clips, words), [(64, 20)], tail=1.0)
    x, cond = next(batches)
    own = torch.tensor([-(-(300 + 130 * int(i)) // FRAME) for i in cond.pooled[:, 0] - 97])
    at = torch.arange(20)
    quiet = cond.mask & (at >= own[:, None])
    assert quiet.any(1).float().mean() > 0.5
    assert (x[:, 0][quiet] == 7).all() and (x[:, 1][quiet] == -7).all()
    assert (x[:, 0][at < own[:, None]] != 7).all()


def test_batches_resume_and_differ_by_rank_and_seed(corpus):
    one, two = batches_of(corpus), batches_of(corpus)
    for _ in range(5):
        next(one)
    two.load_state_dict(one.state_dict())
    for _ in range(5):
        a, b = next(one), next(two)
        assert torch.equal(a[0], b[0]) and torch.equal(a[1].tokens, b[1].tokens) and torch.equal(a[1].null, b[1].null)
    other = [batches_of(corpus, buckets=[(16, 14)], **change) for change in ({}, {"rank": 1}, {"seed": 4})]
    xs = [next(batch)[0] for batch in other]
    assert not torch.equal(xs[0], xs[1]) and not torch.equal(xs[0], xs[2])
    with pytest.raises(ValueError, match="rank"):
        other[1].load_state_dict(other[0].state_dict())


def test_bad_batch_settings(corpus):
    with pytest.raises(ValueError, match="buckets"):
        batches_of(corpus, buckets=[(0, 8)])
    with pytest.raises(ValueError, match="weights"):
        batches_of(corpus, weight=lambda clip: -1.0)
    with pytest.raises(ValueError, match="no caption"):
        encode_captions([Clip("a", None, 1.0)], words)


# --- wave batches -----------------------------------------------------------------------------------------------------


def test_wave_crops_come_from_one_clip(tmp_path):
    clips = []
    for i, length in enumerate((4000, 9000, 900)):
        ramp = (np.arange(length) / 20000 + 0.3 * i).astype(np.float32)
        soundfile.write(tmp_path / f"{i}.wav", ramp, RATE, subtype="PCM_16")
        clips.append(Clip(f"{i}.wav", tmp_path / f"{i}.wav", length / RATE))
    batches = WaveBatches(clips, RATE, seconds=0.25, batch=64, multiple=500)
    wav, cond = next(batches)
    assert wav.shape == (64, 2000) and cond is None
    for row in wav:
        sounding = row[row.abs() > 1e-4].double()
        assert (sounding.diff() - 1 / 20000).abs().max() < 1e-4  # one stretch of one ramp
    short = (wav == 0).sum(1) > 1000
    assert 0.05 < short.float().mean() < 0.4  # weight 2000 of 15000


def test_gain_range_and_ceiling(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(5000, 0.5, np.float32), RATE)
    clip = Clip("a.wav", tmp_path / "a.wav", 5000 / RATE)
    levels = next(WaveBatches([clip], RATE, 0.1, 256, gain=(-12.0, 12.0), multiple=100))[0].amax(1)
    assert levels.max() == 1.0 and abs(20 * np.log10(levels.min() / 0.5) + 12) < 0.3
    assert abs((levels == 1.0).float().mean() - 0.25) < 0.1  # +6 dB and more


def test_other_rates_and_channels_are_brought_to_one_form(tmp_path):
    t = np.arange(16000) / 16000
    stereo = 0.5 * np.sin(2 * np.pi * 440 * t)[:, None].repeat(2, 1)
    soundfile.write(tmp_path / "a.wav", stereo, 16000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batches = WaveBatches([Clip("a.wav", tmp_path / "a.wav", 1.0)], RATE, 0.5, 4)
    assert batches.lengths[0] == RATE
    spectrum = np.abs(np.fft.rfft(next(batches)[0][0].numpy()))
    assert abs(spectrum.argmax() * RATE / batches.samples - 440) < 4


def test_no_readable_clip_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="none of 1"), pytest.warns(UserWarning):
        WaveBatches([Clip("a.wav", tmp_path / "a.wav", 1.0)], RATE, 0.5, 4)


def test_packed_latents_travel(corpus, tmp_path):
    latents = latents_of(corpus)
    file = tmp_path / "packed.safetensors"
    pack(latents, file, step=0.03)
    again = unpack(file, in_split("train"))
    assert [c.captions for c in again.clips] == [c.captions for c in latents.clips[:11]]
    kept = again.frames.float()
    assert torch.equal(again.lengths, latents.lengths[:11]) and torch.equal(again.starts, latents.starts[:11])
    assert ((kept - latents.frames[: len(kept)].float()).abs() <= 0.51 * 0.03 + 1e-3).all()
    whole = concatenate_latents([again, unpack(file, in_split("test"))])
    assert len(whole.clips) == 12 and torch.equal(whole.starts, latents.starts)
    with pytest.raises(ValueError, match="no clip in it is wanted"):
        unpack(file, in_split("valid"))
    file.write_bytes(b"no safetensors")
    with pytest.raises(ValueError, match=r"packed\.safetensors.*damaged"):
        unpack(file)

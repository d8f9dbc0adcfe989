"""The cache of latents: each clip is encoded once, damage is named, and packed latents are the same elsewhere."""

import numpy as np
import pytest
import soundfile
import torch
from toy_corpus import RATE, MeanCodec, frame_count, latents_of

from audiocm.data.latents import cached_latents, codec_key, concatenate_latents, pack, unpack
from audiocm.data.manifest import in_split, read_manifest


def test_the_cache_holds_the_latent_of_each_clip_and_encodes_once(corpus):
    codec = MeanCodec()
    latents = latents_of(corpus, codec=codec)
    first = codec.encoded
    for i in range(12):
        own = latents.frames[latents.starts[i] : latents.starts[i] + latents.lengths[i]].float()
        assert len(own) == frame_count(i)
        assert torch.allclose(own[:3, 0], torch.tensor(i / 20), atol=1e-3)
    again = latents_of(corpus, codec=codec)
    assert codec.encoded == first + 1  # the one is the sound of digital silence
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
    with pytest.raises(ValueError, match="no clip in it is selected"):
        unpack(file, in_split("valid"))
    file.write_bytes(b"no safetensors")
    with pytest.raises(ValueError, match=r"packed\.safetensors.*damaged"):
        unpack(file)


def test_clips_keep_their_order_over_several_shards(corpus):
    one = latents_of(corpus)
    clips = read_manifest(corpus)[::-1]
    many = cached_latents(clips, MeanCodec(), "other", corpus.parent / "cache", batch=2, shard_clips=5)
    assert len(list((corpus.parent / "cache" / "latents-other").glob("*.safetensors"))) == 3
    assert [clip.file for clip in many.clips] == [clip.file for clip in clips]
    for i in range(12):
        start, length = int(many.starts[11 - i]), int(many.lengths[11 - i])
        assert torch.equal(many.frames[start : start + length], one.frames[one.starts[i] :][: one.lengths[i]])

"""Batches of latents and of waveforms: contents, masks, weights, dropout, and the same again after a resume."""

import warnings

import numpy as np
import pytest
import soundfile
import torch
from toy_corpus import RATE, encode_prompts, frame_count, latents_of

from audiocm.data.captions import encode_captions
from audiocm.data.latent_batches import LatentBatches, Role
from audiocm.data.latents import Latents
from audiocm.data.manifest import Clip
from audiocm.data.wave_batches import WaveBatches


def batches_of(path, **changes):
    latents = latents_of(path)
    settings = {"buckets": [(16, 8), (8, 14)], "seed": 3} | changes
    return LatentBatches(latents, encode_captions(latents.clips, encode_prompts), **settings)


def test_latents_captions_and_masks_belong_together(corpus):
    batches, shapes = batches_of(corpus), set()
    for _ in range(30):
        x, cond = next(batches)
        shapes.add(tuple(x.shape))
        level = x[:, 0, 0] * 20  # = index of the clip, and its captions' letter
        letter = cond.pooled[:, 0] - 97
        assert torch.allclose(level, letter, atol=0.05)
        valid = cond.mask.sum(1)
        frames = torch.tensor([frame_count(i) for i in letter])
        assert torch.equal(valid, frames.clamp_max(x.shape[2]))
        assert (x * ~cond.mask[:, None]).abs().max() == 0
    assert shapes == {(16, 2, 8), (8, 2, 14)}


def test_all_captions_are_drawn_and_the_share_of_dropped_conditions(corpus):
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
    batches = LatentBatches(latents, encode_captions([clip], encode_prompts), [(64, 16)])
    x, cond = next(batches)
    starts = x[:, 0, 0]
    assert cond.mask.all() and torch.equal(x[:, 0], starts[:, None] + torch.arange(16))
    assert starts.min() <= 2 and starts.max() >= 22 and starts.max() <= 24


def test_tail_is_silence_inside_the_mask(corpus):
    latents = latents_of(corpus)
    latents.silence = torch.tensor([7.0, -7.0])
    batches = LatentBatches(latents, encode_captions(latents.clips, encode_prompts), [(64, 20)], tail=1.0)
    x, cond = next(batches)
    own = torch.tensor([frame_count(i) for i in cond.pooled[:, 0] - 97])
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
        encode_captions([Clip("a", None, 1.0)], encode_prompts)


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
        assert (sounding.diff() - 1 / 20000).abs().max() < 1e-4  # a part of one ramp
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


def test_a_subclass_gets_the_clips_of_its_crops(tmp_path):
    """draw_clips and crops with one generator give the batch of __next__."""
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", np.full(3000, 0.1 + 0.2 * i, np.float32), RATE)
    clips = [Clip(f"{i}.wav", tmp_path / f"{i}.wav", 3000 / RATE) for i in range(3)]
    one, two = (WaveBatches(clips, RATE, 0.1, 32, multiple=100) for _ in range(2))
    generator = two.step_generator()
    drawn = two.draw_clips(generator)
    wav = two.crops(drawn, generator)
    assert torch.equal(wav, next(one)[0]) and set(drawn) == {0, 1, 2}
    assert torch.allclose(wav[:, 0], 0.1 + 0.2 * torch.from_numpy(drawn).float(), atol=1e-3)


def batches_with_roles(roles: list[Role], lengths: list[int], **changes):
    """Batches of clips whose frame k is the number k, with a role each."""
    frames = torch.cat([torch.arange(float(n))[:, None] for n in lengths]).to(torch.float16)
    clips = [Clip(str(i), None, 1.0, captions=(chr(97 + i),)) for i in range(len(lengths))]
    starts = torch.tensor(np.append(0, np.cumsum(lengths)[:-1]))
    latents = Latents(clips, frames, starts, torch.tensor(lengths), torch.full((1,), -5.0))
    settings = {"buckets": [(64, 40), (64, 100)], "role": lambda clip: roles[int(clip.file)]} | changes
    return LatentBatches(latents, encode_captions(clips, encode_prompts), **settings)


def test_any_part_of_a_texture_fills_windows_of_all_lengths():
    batches, seen = batches_with_roles([Role.TEXTURE], [100], tail=0.9), []
    for _ in range(300):
        x, cond = next(batches)
        total = cond.mask.sum(1)
        inside = torch.arange(x.shape[2]) < total[:, None]
        assert torch.equal((x[:, 0] - x[:, 0, :1])[inside], torch.arange(x.shape[2]).expand_as(inside)[inside].float())
        assert set((cond.duration - total).tolist()) <= {0.0, *(-total).tolist()}  # all of the window, or not said
        seen.append(total)
    seen = torch.cat(seen)
    assert 10 <= seen.min() <= 15 and seen.max() == 100
    assert abs((seen <= 40).float().mean() - 0.4) < 0.1  # uniform lengths: 40 of 100 frames


def test_an_event_ends_by_itself_and_the_silence_after_it_may_belong_to_it():
    batches, said, long = batches_with_roles([Role.EVENT], [20], tail=0.5), [], 0
    for _ in range(200):
        x, cond = next(batches)
        total = cond.mask.sum(1)
        assert (x[:, 0, 20:][cond.mask[:, 20:]] == -5).all() and (x[:, 0, 19] == 19).all()
        assert ((cond.duration == 20) | (cond.duration == total) | (cond.duration == 0)).all()
        if x.shape[2] == 100:
            assert (total > 40).all()
            long += len(x)
            said.append(torch.stack([cond.duration == 20, cond.duration == total, cond.duration == 0], 1).float())
    assert abs(long / (200 * 64) - 0.2) < 0.1
    assert (torch.cat(said).mean(0) - torch.tensor([0.4, 0.4, 0.2])).abs().max() < 0.06


def test_silence_after_a_whole_clip_is_always_said():
    batches = batches_with_roles([Role.WHOLE], [20], tail=0.5)
    for _ in range(20):
        _, cond = next(batches)
        total = cond.mask.sum(1)
        assert (cond.duration[total > 20] == 20).all() and set(cond.duration[total == 20].tolist()) <= {0.0, 20.0}


def test_edited_samples_keep_all_but_one_interval():
    x, cond = next(batches_with_roles([Role.WHOLE] * 2, [40, 90], editing=1.0, buckets=[(512, 100)], tail=0.5))
    assert cond.kept is not None and torch.equal(cond.kept, x)
    unknown = cond.mask & ~cond.kept_mask
    assert (cond.kept_mask <= cond.mask).all()
    share = unknown.sum(1) / cond.mask.sum(1)
    assert 0.1 <= share.min() < 0.15 and 0.75 < share.max() <= 0.84
    edges = (unknown.long().diff(dim=1, prepend=torch.zeros(512, 1).long()) == 1).sum(1)
    assert (edges == 1).all()  # one interval each
    last = cond.mask.sum(1) - 1
    at_start, at_end = unknown[:, 0], unknown[torch.arange(512), last]
    assert abs(at_start.float().mean() - 0.2) < 0.07 and abs(at_end.float().mean() - 0.3) < 0.08
    _, cond = next(batches_with_roles([Role.WHOLE], [40], editing=0.0))
    assert cond.kept is None and cond.kept_mask is None
    _, cond = next(batches_with_roles([Role.WHOLE], [40], editing=0.3))
    assert abs((cond.kept_mask.any(1)).float().mean() - 0.3) < 0.15

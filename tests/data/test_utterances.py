"""Utterances: phoneme lines with known and unknown durations and pitch, as conditions of latent batches."""

from pathlib import Path

import pytest
import torch

from audiocm.data.latent_batches import LatentBatches
from audiocm.data.latents import Latents
from audiocm.data.manifest import Clip
from audiocm.data.utterances import TimedPhonemes, build_utterances, pronounce_clip
from audiocm.speech.encoder_net import SUBFRAMES, phoneme_batch

RATE = 10.0  # frames a second
LINES = {
    "a": TimedPhonemes("hˈI.", [0.1, 0.1, 0.3, 0.1, 0.1], [100.0, 0.0]),
    "b": TimedPhonemes("bˈI."),
    "c": TimedPhonemes("hˈI bˈI."),
}
LENGTHS = {"a": 8, "b": 5, "c": 12}


def speech_latents(voice: str = "anna") -> Latents:
    """Latents of three clips; frame k of each is the number k."""
    clips = [Clip(name, Path(name), 1.0, text="Hi.", voice=voice) for name in LINES]
    lengths = torch.tensor(list(LENGTHS.values()))
    frames = torch.cat([torch.arange(float(n)) for n in LENGTHS.values()])[:, None].half()
    return Latents(clips, frames, lengths.cumsum(0) - lengths, lengths, torch.zeros(1))


def test_known_durations_and_pitch_fill_the_latent():
    _, table = build_utterances(speech_latents(), ["ben", "anna"], RATE, LINES)
    lines = table.lines
    assert len(table) == 3 and lines.voice.tolist() == [1, 1, 1]
    assert torch.equal(lines.symbols, phoneme_batch([one.phonemes for one in LINES.values()]).symbols)
    assert lines.durations[0, :5].tolist() == pytest.approx([1, 1, 3, 1, 2])  # the last takes the frame of padding
    assert lines.durations[1].isnan().all() and not lines.durations[0, 5:].any()
    octaves, voiced, known = lines.pitch.view(3, 3, SUBFRAMES, -1).unbind(1)
    assert known[0, :, :8].all() and not known[0, :, 8:].any() and not known[1:].any()
    assert voiced[0, 0].tolist() == [1, 1, 1, 1, *[0] * 8] == (-octaves[0, 0]).tolist()  # 100 Hz, then unvoiced


def test_nothing_known_gives_no_durations_and_no_pitch():
    lines = build_utterances(speech_latents(), ["anna"], RATE)[1].lines
    assert lines.durations is None and lines.pitch is None


def test_batches_hold_the_line_of_each_clip():
    latents, table = build_utterances(speech_latents(), ["anna"], RATE, LINES)
    batches = LatentBatches(latents, table, [(32, 8), (16, 12)], dropout=0.5)
    for _ in range(6):
        x, speech = next(batches)
        frames = torch.where(speech.token_mask.sum(1) == 8, 12, torch.where(speech.durations[:, 0].isnan(), 5, 8))
        assert torch.equal(speech.mask.sum(1), frames) and torch.equal(x.amax((1, 2)), frames - 1.0)
        assert speech.pitch.shape == (len(x), 3 * SUBFRAMES, x.shape[2]) and speech.pitch.dtype == torch.float32
        assert speech.null.any() and not speech.null.all()


def test_clips_without_a_line_or_too_long_are_left_out():
    lines = {name: line for name, line in LINES.items() if name != "b"}
    latents, table = build_utterances(speech_latents(), ["anna"], RATE, lines, max_frames=10)
    assert [clip.file for clip in latents.clips] == ["a"] and len(table) == 1 and latents.starts.tolist() == [0]
    assert latents.skipped["c"] == "is longer than the longest bucket, 10 frames"
    assert latents.skipped["b"].startswith("has no phoneme line")


def test_what_is_not_allowed():
    with pytest.raises(ValueError, match="a is spoken by 'carl', not one of anna"):
        build_utterances(speech_latents("carl"), ["anna"], RATE)
    with pytest.raises(ValueError, match="none of 3 clips has a usable phoneme line; the first: is longer than"):
        build_utterances(speech_latents(), ["anna"], RATE, LINES, max_frames=3)
    wrong = LINES | {"a": TimedPhonemes("hˈI.", [0.1])}
    with pytest.raises(ValueError, match="1 durations for 5 symbols of 'hˈI"):
        build_utterances(speech_latents(), ["anna"], RATE, wrong)


def test_a_text_is_one_line():
    line = pronounce_clip(Clip("a", Path("a"), 1.0, text="Hello there. Go."))
    assert line.phonemes.startswith("həlˈO ðˈɛɹ. ") and line.seconds is None and line.hertz is None
    with pytest.raises(ValueError, match="the text is empty"):
        pronounce_clip(Clip("a", Path("a"), 1.0))

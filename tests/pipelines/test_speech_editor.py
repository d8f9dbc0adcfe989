"""Editing of recorded speech: kept samples stay equal bit for bit, new words fit the recording, bad input is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_speech import tiny_net, tiny_speech

from audiocm.audio.io import resample
from audiocm.audio.pitch import estimate_f0
from audiocm.pipelines import speech_editor, speech_plan
from audiocm.pipelines.filling import SEAM, EditSettings
from audiocm.pipelines.speech_editor import SpeechEditor
from audiocm.pipelines.text_to_speech_sampler import TextToSpeechSampler
from audiocm.speech.times import WordPlace

SAID = "She folded the letter twice and slipped it under the clock."
TEXT = "She folded the paper twice and slipped it under the clock."


@pytest.fixture(scope="module")
def bundled():
    """An editor with the bundled student, and recordings of SAID in both of its voices, with the times of their words."""
    pipe = TextToSpeechSampler.from_pretrained("tts")
    seed = torch.Generator().manual_seed(7)
    said = {voice: pipe(SAID, voice=voice, generator=seed, output_type="np") for voice in pipe.voices}
    return SpeechEditor(pipe), {voice: (one.audios[0], one.times[0][0].words) for voice, one in said.items()}


@pytest.fixture
def tiny(monkeypatch):
    """Editors of random networks, with and without known frames, whose readings are taken to be said evenly."""

    def evenly(starts, replaced, is_said_before, is_said_after, synthetic, recording):
        return starts * (len(recording) / 24000 / starts[-1])

    monkeypatch.setattr(speech_editor, "warp_around", evenly)
    pipes = tiny_speech(), tiny_speech()
    pipes[1].register_modules(transformer=tiny_net(takes_kept=True))
    return [SpeechEditor(pipe) for pipe in pipes]


def noise(seconds: float, rate: int = 24000, channels: int = 1) -> np.ndarray:
    wav = np.random.default_rng(0).uniform(-0.3, 0.3, (round(seconds * rate), channels))
    return wav[:, 0] if channels == 1 else wav


def unequal(edited: np.ndarray, wav: np.ndarray) -> tuple[int, int]:
    """Returns how many samples at the beginning and at the end of both are equal."""
    count = min(len(edited), len(wav))
    sides = (edited[:count] != wav[:count]), (edited[::-1][:count] != wav[::-1][:count])
    return tuple(int(np.argmax(side.reshape(count, -1).any(1))) for side in sides)


def test_a_word_is_said_anew_between_the_recordings_own_samples(bundled):
    editor, said = bundled
    wav, words = said["heart"]
    rate = 44100
    stereo = resample(np.stack([wav, 0.5 * wav], 1), 24000, rate).astype(np.float64)
    edited = editor.replace_words(stereo, rate, TEXT, (4, 4), settings=EditSettings(seed=1))
    before, after = unequal(edited, stereo)
    length = len(stereo) / rate
    assert abs(before / rate + SEAM - words[2].end) < 0.1  # it begins after "the"
    assert abs(length - after / rate - SEAM - words[4].start) < 0.1  # and ends before "twice"
    assert edited.dtype == stereo.dtype and np.isfinite(edited).all() and np.abs(edited).max() <= 1
    made = edited[before : len(edited) - after]
    assert 0.2 < len(made) / rate < 0.8 and np.sqrt(np.mean(made**2)) > 0.3 * np.sqrt(np.mean(stereo**2))
    np.testing.assert_allclose(made[:, 1], 0.5 * made[:, 0], atol=0.02)
    again, other = (editor.replace_words(stereo, rate, TEXT, (4, 4), settings=EditSettings(seed=s)) for s in (1, 2))
    np.testing.assert_array_equal(again, edited)
    assert len(other) != len(edited) or np.abs(other - edited).max() > 1e-3


def test_new_words_follow_the_voice_tempo_and_pitch_of_the_recording(bundled, monkeypatch):
    editor, said = bundled
    plans, hertz, ratios, original, formants = [], [], [], SpeechEditor._pitch, SpeechEditor._formants

    def watched(self, plan, mono):
        plans.append(plan)
        hertz.append(original(self, plan, mono))
        return hertz[-1]

    monkeypatch.setattr(SpeechEditor, "_pitch", watched)
    monkeypatch.setattr(SpeechEditor, "_formants", lambda *args: ratios.append(formants(*args)) or ratios[-1])
    heard, sample = [], SpeechEditor._sample

    def hearing(self, cond, reference, settings, seed, known=None):
        heard.append(known is not None)
        return sample(self, cond, reference, settings, seed, known)

    monkeypatch.setattr(SpeechEditor, "_sample", hearing)
    slow = resample(said["heart"][0], 24000, 24000 * 1.25)  # 1.25 times as long, and as much lower
    for wav in (said["heart"][0], slow, said["prompts"][0]):
        editor.replace_words(wav, 24000, TEXT, (4, 4))
    made = [plan.seconds[plan.first : plan.end].sum() for plan in plans]
    assert made[1] == pytest.approx(1.25 * made[0], rel=0.1)
    pitches = [np.median(one[one > 0]) for one in hertz]
    assert pitches[1] == pytest.approx(pitches[0] / 1.25, rel=0.05)
    assert ratios == pytest.approx([1.0, 1 / 1.25, 1.0], rel=0.03)
    assert editor.takes_kept and heard[1::2] == [
        True,
        False,
        True,
    ]  # unknown voices are not; every other is the reading
    voices = [int(plan.line.batch.voice) for plan in plans]
    assert [editor.pipe.voices[number] for number in (voices[0], voices[2])] == ["heart", "prompts"]
    for plan, wav in zip(plans, (said["heart"][0], slow, said["prompts"][0]), strict=True):
        kept = plan.seconds.sum() - plan.seconds[plan.first : plan.end].sum() + plan.cut[1] - plan.cut[0]
        assert kept == pytest.approx(len(wav) / 24000)  # the line lasts as long as the result


@pytest.mark.parametrize(("text", "words"), [("We folded the letter twice and slipped it under the clock.", (1, 1)), (SAID[:-6] + "table.", (11, 11))])  # fmt: skip
def test_the_first_and_the_last_word_can_be_said_anew(bundled, text, words):
    editor, said = bundled
    wav, times = said["heart"]
    before, after = unequal(editor.replace_words(wav, 24000, text, words), wav)
    if words[0] == 1:
        assert times[0].start - 0.2 < before / 24000 + SEAM < times[0].start + 0.05 and after > 2 * 24000
    else:
        assert before > 2 * 24000 and after / 24000 < 0.3 + len(wav) / 24000 - times[-1].end


@pytest.mark.parametrize("said", [None, SAID])
def test_a_recording_is_continued_in_its_own_voice(bundled, said):
    editor, recordings = bundled
    wav = recordings["heart"][0]
    longer = editor.extend(wav, 24000, "Nobody saw her leave.", said)
    seam = round(SEAM * 24000)
    np.testing.assert_array_equal(longer[: len(wav) - seam], wav[: len(wav) - seam])
    made = longer[len(wav) :]
    assert 0.8 < len(made) / 24000 < 3
    pitch = [np.median(f0[f0 > 0]) for f0 in (estimate_f0(wav), estimate_f0(made))]
    assert pitch[1] == pytest.approx(pitch[0], rel=0.15)
    levels = [np.quantile(np.abs(one), 0.9) for one in (wav, made)]
    assert 0.5 < levels[1] / levels[0] < 2


def test_a_recording_of_something_else_is_refused(bundled):
    editor, said = bundled
    for wav, text in ((said["heart"][0], "The weather will be fine tomorrow in the north."), (noise(3.0), TEXT)):
        with pytest.raises(ValueError, match="the recording does not say the words of the text"):
            editor.replace_words(wav, 24000, text, (4, 4))


@pytest.mark.parametrize(("kind", "steps"), [(0, None), (0, 2), (1, None)])
def test_a_network_with_known_frames_is_told_them_and_any_other_is_set_to_them(tiny, kind, steps, monkeypatch):
    editor, conditions, made = tiny[kind], [], []
    handle = editor.pipe.transformer.register_forward_pre_hook(
        lambda _, args: conditions.append(next(one for one in args if hasattr(one, "kept")))
    )
    original = editor._sample
    monkeypatch.setattr(editor, "_sample", lambda *args: made.append((args, original(*args))) or made[-1][1])
    wav = noise(3.0, channels=2)
    edited = editor.replace_words(wav, 24000, TEXT, (4, 5), settings=EditSettings(steps=steps))
    handle.remove()
    before, after = unequal(edited, wav)
    assert before > 0.5 * 24000 and after > 0.5 * 24000 and np.isfinite(edited).all()
    (_, reference, _, _, known), latent = made[-1]
    assert len(reference) == 2 and known.any() and not known.all()
    if editor.takes_kept:
        assert torch.equal(conditions[-1].kept, reference)
        assert torch.equal(conditions[-1].kept_mask, known.expand(2, -1))
    else:
        assert conditions[-1].kept is None
    assert torch.equal(latent[:, :, known], reference[:, :, known]) == (steps == 2)
    assert all(one.kept is None for one in conditions[: -1 if steps is None else -2])  # a reading has no recording


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda e, w: e.replace_words(w, 24000, TEXT, (3, 12)), "words 3:12 must lie inside the text, whose words are 1:11"),
        (lambda e, w: e.replace_words(w, 24000, TEXT, (0, 2)), "must lie inside"),
        (lambda e, w: e.replace_words(w, 24000, TEXT, (4, 3)), "words 4:3 are none"),
        (lambda e, w: e.replace_words(w, 24000, TEXT, (1, 11)), "are the whole text: nothing would be kept"),
        (lambda e, w: e.replace_words(w, 24000, TEXT, (1.5, 2)), "words must be a whole number"),
        (lambda e, w: e.replace_words(w, 24000, TEXT, 3), "words must be the numbers"),
        (lambda e, w: e.replace_words(w, 24000, "At 5:45 p.m.", (2, 2), settings=EditSettings("rain")), "leave the prompt out"),
        (lambda e, w: e.replace_words(w, 24000, "Сегодня хорошая погода", (1, 1)), "the text has Cyrillic letters"),
        (lambda e, w: e.replace_words(w, 24000, "1 2 3", (2, 2), voice="carl"), "unknown voice 'carl': this model has anna, ben"),
        (lambda e, w: e.replace_words(0 * w, 24000, TEXT, (4, 4)), "the sound is silent"),
        (lambda e, w: e.replace_words(w + np.nan, 24000, TEXT, (4, 4)), "not finite"),
        (lambda e, w: e.replace_words(w[:0], 24000, TEXT, (4, 4)), "the sound is empty"),
        (lambda e, w: e.replace_words(np.tile(w, 9), 24000, TEXT, (4, 4)), "the recording lasts 27.0 seconds: at most 10.2"),
        (lambda e, w: e.replace_words(w, 24000, TEXT + 20 * TEXT, (4, 4)), "the text lasts .* seconds: at most 10.2"),
        (lambda e, w: e.extend(w, 24000, " "), "the text is empty"),
        (lambda e, w: e.extend(w, 24000, "...", TEXT), "no character that can be pronounced"),
        (lambda e, w: e.extend(0 * w, 24000, "Go home."), "the sound is silent"),
        (lambda e, w: e.extend(w, 24000, "Go.", settings=EditSettings(guidance=99)), "guidance 99 is outside"),
    ],
)  # fmt: skip
def test_bad_input_is_told(tiny, edit, message):
    with pytest.raises(ValueError, match=message):
        edit(tiny[0], noise(3.0))


def test_words_that_are_read_together_are_said_anew_together():
    line = speech_plan.read_line("At 5:45 p.m. we left. Then it rained.")
    assert line.text == "At 5:45 p.m. we left. Then it rained." and line.pause == 0
    places = [WordPlace(text, text, i, i + 1) for i, text in enumerate(["At", "5:45 p.m.", "we", "left."])]
    before, after = speech_plan.words_around(places, 3, 3)
    assert [[word.text for word in side] for side in (before, after)] == [["At"], ["we", "left."]]
    with pytest.raises(ValueError, match="read together with the whole text"):
        speech_plan.words_around(places[1:2], 2, 2)

"""The table of edited speech: its sentences, pasted words, what counts as new, and both of its steps with tiny models."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from tiny_speech import tiny_speech

from audiocm.pipelines import speech_editor
from recipes.text_to_speech import editing
from recipes.text_to_speech.editing import RATE, WordPaster, continuations, differing, is_heard, read_edits


def test_sentences_differ_in_the_words_that_are_named():
    edits = read_edits()
    assert len(edits) == 36 and len({edit.text for edit in edits}) == 36
    for edit in edits:
        first, last = edit.words
        old, new = edit.said.split(), edit.text.split()
        after = len(new) - last
        assert old[: first - 1] == new[: first - 1] and old[len(old) - after :] == new[last:] and edit.said != edit.text
        assert 1 < first <= last <= len(new) and "[" not in edit.text


def test_a_continuation_says_the_next_sentence_after_its_own():
    edits = read_edits()[:3]
    for one, other, after in zip(edits, [*edits[1:], edits[0]], continuations(edits), strict=True):
        assert after.said == one.said and after.text == f"{one.said} {other.said}" and after.new == other.said


def test_what_differs_from_a_recording_is_found():
    recording = np.arange(1.0, 11)
    assert differing(np.r_[recording[:3], -1, -2, -3, -4, recording[5:]], recording) == slice(3, 7)
    assert differing(recording, recording) == slice(10, 10)
    assert differing(-recording, recording) == slice(0, 10)


def test_words_are_heard_one_after_another():
    assert is_heard("silver coins", "She kept silver coins, in a tin.")
    assert not is_heard("silver coins", "She kept coins of silver.") and not is_heard("art", "The party.")


@pytest.fixture
def pipe(monkeypatch):
    """A random network whose readings are taken to be said evenly."""

    def evenly(starts, *arguments):
        return starts * (len(arguments[-1]) / RATE / starts[-1])

    monkeypatch.setattr(speech_editor, "warp_around", evenly)
    return tiny_speech()


def test_a_pasted_word_is_that_of_the_reading_at_the_level_of_the_recording(pipe, monkeypatch):
    plans, original = [], WordPaster._carry_out
    monkeypatch.setattr(
        WordPaster, "_carry_out", lambda self, plan, *rest: plans.append(plan) or original(self, plan, *rest)
    )
    wav, edit = np.random.default_rng(0).uniform(-0.3, 0.3, 3 * RATE), read_edits()[0]
    pasted = WordPaster(pipe).replace_words(wav, RATE, edit.text, edit.words)
    (plan,) = plans
    begin, end = (round(at * RATE) for at in plan.line.starts[[plan.first, plan.end]])
    word, first = plan.line.wav[begin:end], round(plan.cut[0] * RATE)
    gain = np.sqrt(np.mean(wav**2) / np.mean(plan.line.wav.astype(float) ** 2))
    np.testing.assert_allclose(pasted[first : first + end - begin], gain * word, atol=1e-5)
    seam = round(editing.SEAM * RATE)
    np.testing.assert_array_equal(pasted[: first - seam], wav[: first - seam])
    assert len(pasted) == len(wav) - (round(plan.cut[1] * RATE) - first) + len(word)


def test_sounds_are_made_once_and_scored(pipe, tmp_path, monkeypatch, capsys):
    class Transcriber:
        name, digest, sample_rate = "fake", "0", 16000

        def __init__(self, threads):
            edits = read_edits()[:2]
            texts = [edit.said for edit in edits] + [edit.text for edit in edits] * 5
            self.texts = iter([*texts, *[edit.text for edit in continuations(edits)] * 4])

        def __call__(self, wav):
            return next(self.texts)

    class Speaker:
        name, digest, sample_rate = "fake speaker", "0", 16000

        def features(self, wavs):
            assert all(len(wav) > editing.REPEATED * 16000 - 1 for wav in wavs[2:])
            return {"embedding": np.stack([[np.mean(np.abs(wav)), 1.0] for wav in wavs])}

    def say(text, seed):
        return np.random.default_rng(len(text) + seed).uniform(-0.3, 0.3, 3 * RATE)

    monkeypatch.setattr(editing.TextToSpeechPipeline, "from_pretrained", lambda *_, **__: pipe)
    monkeypatch.setattr(editing, "voices", lambda _: {"heart": say})
    monkeypatch.setattr(editing, "Transcriber", Transcriber)
    monkeypatch.setattr(editing, "SpeakerEmbedder", Speaker)
    monkeypatch.chdir(tmp_path)
    for action in ("make", "make", "score"):
        monkeypatch.setattr(
            sys, "argv", ["editing", action, "--output", "out", "--results", "scores.json", "--count", "2"]
        )
        editing.main()
    results = json.loads((tmp_path / "scores.json").read_text())
    names = [f"heart: {name}" for name in editing.ROWS] + [f"heart, continued: {name}" for name in editing.ROWS_AFTER]
    assert list(results["systems"]) == names
    for name, row in results["systems"].items():
        assert row["clips"] == 2 and row["scores"]["WER %"]["value"] == 0
        has_new = name not in ("heart: recording", "heart: the voice itself", "heart: plain reading")
        assert ("similarity of the new words" in row["scores"]) == has_new
    assert "heart: edited, 1 call | 2 |" in (tmp_path / "scores.md").read_text()
    assert len(list((tmp_path / "out").rglob("*.wav"))) == 20

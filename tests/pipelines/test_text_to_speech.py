"""The text-to-speech pipeline on tiny random networks: seeds, streaming, durations, melody, and what is refused."""

import warnings
from itertools import pairwise

import numpy
import pytest
import torch
from tiny_speech import tiny_encoder, tiny_speech

from audiocm.pipelines import text_to_speech
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline
from audiocm.text import Lexicon

TEXT = "Hello there. The train leaves at 5:45 p.m., doesn't it?\n\nYes."


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def pipe() -> TextToSpeechPipeline:
    return tiny_speech()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is empty"),
        ([], "the text is empty"),
        ("?!... \U0001f642", "no character that can be pronounced"),
        ("Hello мир", "Cyrillic letters"),
        ("call ٣", "digits of another script"),
    ],
)
def test_bad_text_is_one_line(pipe, text, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for call in (pipe, pipe.stream) if isinstance(text, str) else (pipe,):
            with pytest.raises(ValueError) as error:
                call(text)
            assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"voice": "carl"}, "unknown voice 'carl': this model has anna, ben"),
        ({"speed": 0.4}, "speed 0.4 is outside what the model allows: 0.5 to 2"),
        ({"speed": float("nan")}, "speed nan is outside"),
        ({"num_inference_steps": 0}, "steps must be a whole number"),
        ({"guidance_scale": 9.0}, "guidance 9 is outside what the model allows: 0 to 6"),
        ({"output_type": "mp3"}, "output_type must be"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"notes": [(60, 1.0)]}, "1 notes for 3 syllables"),
        ({"pitch": [[100.0]]}, "a pitch contour is a list"),
    ],
)
def test_bad_options_are_one_line(pipe, options, message):
    with pytest.raises(ValueError) as error:
        pipe("Hello there.", **options)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_melodies_are_for_one_sentence_and_models_that_follow_pitch(pipe):
    with pytest.raises(ValueError, match="for one sentence"):
        pipe("One. Two.", pitch=[100.0])
    with pytest.raises(ValueError, match="for one sentence"):
        pipe.stream("One. Two.", notes=[(60, 1.0), (60, 1.0)])
    plain = TextToSpeechPipeline(pipe.transformer, pipe.vae, pipe.vocoder, tiny_encoder(follows_pitch=False))
    with pytest.raises(ValueError, match="not trained to follow a pitch contour"):
        plain("Hello there.", pitch=[100.0])


def test_seeds_batches_and_streams_agree(pipe):
    alone = pipe(TEXT, generator=seeded(3))
    many = pipe([TEXT, "Other words."], generator=[seeded(3), seeded(4)], batch_size=2)
    assert alone.audios[0].shape == many.audios[0].shape and torch.allclose(alone.audios[0], many.audios[0], atol=1e-3)
    for text in (TEXT, [TEXT[:30], TEXT[30:]]):  # whole, and in blocks
        pieces = list(pipe.stream(text, generator=seeded(3)))
        assert len(pieces) == 3 and torch.equal(torch.cat([piece.audio for piece in pieces]), alone.audios[0])
        assert [piece.times for piece in pieces] == alone.times[0]
    assert not torch.allclose(pipe(TEXT, generator=seeded(5)).audios[0], alone.audios[0], atol=1e-2)
    assert pipe(TEXT, generator=seeded(3), output_type="np").audios[0].dtype == numpy.float32


def test_durations_sum_to_the_length(pipe):
    out = pipe("Hello there.", generator=seeded())
    assert "".join(symbol for symbol, _ in out.durations[0]) == "_həlO ðɛɹ._"
    assert sum(seconds for _, seconds in out.durations[0]) * 24_000 == pytest.approx(len(out.audios[0]), abs=1)
    fast, slow = (pipe("Hello there, my dear old friend.", speed=v, generator=seeded()).audios[0] for v in (1, 0.5))
    assert len(slow) == pytest.approx(2 * len(fast), abs=2 * 1024)
    sung = pipe("Hello there.", notes=[(60, 0.5), (64, 0.5), (67, 1.0)])
    seconds = dict(zip("".join(s for s, _ in sung.durations[0]), [v for _, v in sung.durations[0]], strict=True))
    assert seconds["ə"] + seconds["l"] == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("speed", [0.7, 1.0, 1.9])
def test_times_fill_the_sound_with_pauses_clauses_and_speeds(pipe, speed):
    text = (
        "Hi. [pause 0.7s] One more <prosody rate='150%'>thing, that is long,</prosody> at 5:45.\n\n"
        + "This goes on and on, and it does not end, " * 4
        + "so there."
    )
    (times,), (audio,) = (out := pipe(text, speed=speed, generator=seeded())).times, out.audios
    phonemes = [one for sentence in times for one in sentence.phonemes]
    assert phonemes[0].start == 0 and phonemes[-1].end == len(audio) / pipe.sample_rate
    assert all(before.end == after.start for before, after in pairwise(phonemes))
    assert sum(seconds for _, seconds in out.durations[0]) == pytest.approx(phonemes[-1].end, abs=1e-6)
    words = [word for sentence in times for word in sentence.words]
    assert all(before.end <= after.start for before, after in pairwise(words))
    assert all(0 <= word.start < word.end for word in words)
    assert times[0].words[0].text == "Hi." and times[1].start - times[0].end == pytest.approx(0.7, abs=1e-4)
    assert "5:45." in [word.text for word in words]


def test_a_long_first_sentence_begins_with_a_clause(pipe):
    clause = "This goes on and on, and it does not end"
    first, rest = list(pipe.stream(f"{clause}, {clause}, {clause}, {clause}.", generator=seeded()))
    assert first.sentence.text.endswith(",") and len(first.sentence.phonemes) < text_to_speech.FIRST_CLAUSE
    assert rest.times.start == first.times.end and rest.sentence.text.endswith("end.")
    assert len(list(pipe.stream(f"{clause}.", generator=seeded()))) == 1


def test_short_texts_are_spoken_in_the_context_of_themselves(pipe):
    line = "hˈI"
    assert (
        text_to_speech._in_context(line) == "hˈI. hˈI. hˈI." and text_to_speech._in_context("nˈO?") == "nˈO? nˈO? nˈO?"
    )
    assert text_to_speech._in_context("ə" * text_to_speech.SHORT) == "ə" * text_to_speech.SHORT
    out = pipe("Hi", generator=seeded())
    symbols, seconds = zip(*out.durations[0], strict=True)
    assert "".join(symbols) == "_hI._" and seconds[0] >= text_to_speech.LEAD - 1e-6
    assert sum(seconds) == pytest.approx(len(out.audios[0]) / pipe.sample_rate, abs=1e-6)
    assert out.audios[0][0] == 0


def test_words_of_a_lexicon_are_read_as_it_says(pipe, tmp_path):
    (tmp_path / "words.txt").write_text("Nguyen = /wɪn/\n")
    lexicon = Lexicon.read(tmp_path / "words.txt")
    assert "".join(s for s, _ in pipe("Nguyen spoke at noon today.", lexicon=lexicon).durations[0]).startswith("_wɪn ")
    assert next(pipe.stream("Nguyen spoke.", lexicon=lexicon)).sentence.phonemes.startswith("wˈɪn ")


def test_options_change_the_sound(pipe):
    plain = pipe("Hello there.", generator=seeded()).audios[0]
    for options in ({"voice": "ben"}, {"num_inference_steps": 3}, {"guidance_scale": 3.0}, {"pitch": [80.0, 400.0]}):
        other = pipe("Hello there.", generator=seeded(), **options).audios[0]
        assert len(other) != len(plain) or (other - plain).abs().max() > 1e-3
    zero = tiny_speech(noise_mean=0.0)("Hello there.", generator=seeded()).audios[0]
    assert (zero - plain).abs().max() > 1e-3


def test_sentences_too_long_for_the_net_are_cut(pipe):
    with torch.no_grad():
        pipe.speech_encoder.duration.out.bias += 2.5
    try:
        pieces = list(pipe.stream("One two three, four five six seven, eight nine ten."))
        assert len(pieces) > 1 and all(len(p.audio) <= 240 * 1024 + 24_000 for p in pieces)
        with pytest.raises(ValueError, match="too long to speak at once"):
            pipe("Hello.", notes=[(60, 10.0), (60, 10.0)])
    finally:
        with torch.no_grad():
            pipe.speech_encoder.duration.out.bias -= 2.5

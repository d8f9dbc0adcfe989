"""The text-to-speech recipes on a toy voice, one tone per phoneme: phonemes, alignment, teacher, students, command."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from tiny_speech import tiny_encoder

from audiocm.audio.pitch import estimate_f0
from audiocm.cli import graphs
from audiocm.cli.main import main
from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from audiocm.data.latents import cached_latents
from audiocm.data.speech_corpora import read_speech_corpus
from audiocm.data.utterances import build_utterances
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines import loading
from audiocm.speech.encoder import SpeechEncoder
from audiocm.speech.losses import SpeechModel
from audiocm.speech.phonemes import encode_phonemes
from audiocm.text.alphabet import SYMBOLS
from audiocm.text.reading import read_sentences
from audiocm.training.recipe import train_recipe
from recipes.average_weights import move_voice
from recipes.corpora.speech.hibari import merge_durations
from recipes.text_to_speech import data
from recipes.text_to_speech.teacher import load_weights

TEXTS = [
    "Hello there.",
    "A dog barks, loudly.",
    "We sell sea shells.",
    "Six old ships.",
    "Is it five p.m.?",
    "Go home now.",
]
TONE = 0.064  # seconds of each phoneme


def toy(text: str) -> np.ndarray:
    """Each symbol of a line as a chord of its own; pauses and ends are faint noise."""
    rng, parts, at = np.random.default_rng(len(text)), [], np.arange(int(TONE * 24000)) / 24000
    for number in encode_phonemes(next(read_sentences(text)).phonemes)[0]:
        f = 150.0 * 1.065**number
        sounds = number > SYMBOLS.index("”")
        parts.append(
            0.05 * sounds * sum(np.sin(2 * np.pi * k * f * at) for k in (1, 2, 3))
            + 0.0005 * rng.standard_normal(len(at))
        )
    return np.concatenate(parts).astype(np.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The toy voice in three layouts, and a tiny codec in a fake pretrained folder."""
    home = tmp_path_factory.mktemp("tts")
    lines = [f"LJ{i:03d}|{TEXTS[i % 6]}|{TEXTS[i % 6]}" for i in range(60)]
    for folder in ("lj/wavs", "vctk/txt/p225", "vctk/wav48/p225", "plain"):
        (home / folder).mkdir(parents=True)
    (home / "lj" / "metadata.csv").write_text("\n".join(lines))
    for i in range(60):
        soundfile.write(home / "lj" / "wavs" / f"LJ{i:03d}.wav", toy(TEXTS[i % 6]), 24000)
    for i, text in enumerate(TEXTS[:3]):
        soundfile.write(home / "vctk" / "wav48" / "p225" / f"p225_{i}.wav", toy(text), 24000)
        (home / "vctk" / "txt" / "p225" / f"p225_{i}.txt").write_text(text + "\n")
        soundfile.write(home / "plain" / f"{i}.flac", toy(text), 24000)
        (home / "plain" / f"{i}.txt").write_text(text)
    torch.manual_seed(0)
    vae = MelVAE(channels=16, widths=(8, 8, 8), blocks=(1, 1, 1), noise_channels=2)
    vocoder = Vocoder(width=16, depth=1, noise_channels=2)
    mel = vocoder.mel(torch.from_numpy(np.concatenate([toy(text) for text in TEXTS]))[None])
    vae.init_from_pca(mel[..., : mel.shape[2] // 4 * 4])
    vae.save_pretrained(home / "pretrained" / "codec" / "vae")
    vocoder.eval().save_pretrained(home / "pretrained" / "codec" / "vocoder")
    return home


def test_voices_of_corpora(place):
    assert data.corpus_voices([place / "lj", place / "vctk"]) == ("lj", "p225")
    with pytest.raises(ValueError, match="no speech corpus"):
        data.corpus_voices([place / "pretrained"])


def test_lines_are_cached_and_exact_durations_are_used(place, tmp_path):
    clips = read_speech_corpus(place / "plain")
    lines = data.annotate_clips(clips, tmp_path)
    assert lines == data.annotate_clips(clips, tmp_path) and list(lines) == ["0.flac", "1.flac", "2.flac"]
    assert lines["0.flac"].phonemes == "həlˈO ðˈɛɹ." and lines["0.flac"].seconds is None
    merged = merge_durations("həlˈO.", np.array([4, 1, 2, 3, 1, 2, 5, 6]), dict.fromkeys("həlˈO.", 1))
    assert merged == [0.1, 0.025, 0.05, 0.075, 0.075, 0.125, 0.15]
    timed = {}
    for name, line in lines.items():
        timed[name] = replace(line, seconds=[TONE] * len(encode_phonemes(line.phonemes)[0]))
    codec = data.load_codec(str(place / "pretrained/codec/vae"), "", torch.device("cpu"))
    latents = cached_latents(clips, codec, "k", tmp_path)
    kept, table = build_utterances(latents, ["plain"], codec.frame_rate, timed, max_frames=40)
    durations = table.lines.durations
    assert torch.allclose(durations.sum(1), kept.lengths.float(), atol=1e-3)
    assert durations[0, 3] / codec.frame_rate == pytest.approx(TONE, rel=0.02)
    with pytest.raises(ValueError, match="spoken by 'plain', not one of anna"):
        build_utterances(latents, ["anna"], codec.frame_rate, timed)
    with pytest.raises(ValueError, match="longer than the longest bucket"):
        build_utterances(latents, ["plain"], codec.frame_rate, timed, max_frames=3)


def test_f0_of_a_buzz():
    at = np.arange(24000) / 24000
    wav = sum(np.sin(2 * np.pi * 170 * k * at) / k for k in range(1, 8)).astype(np.float32) * 0.1
    wav[12000:] = 0.001 * np.random.default_rng(0).standard_normal(12000)
    f0 = estimate_f0(wav)
    assert len(f0) == 80 and abs(np.median(f0[5:35]) - 170) < 1 and not f0[45:].any()


def train(place, recipe, output, **values):
    """Trains a recipe on the toy voice; returns the folder of its model."""
    values |= {"vae": place / "pretrained/codec/vae", "cache": place / "cache", "corpora": place / "lj"}
    values |= {"scale": 0.05, "lr": 2e-3}
    fields = [part for name, value in values.items() for part in (f"--{name}", str(value))]
    train_recipe(f"recipes/text_to_speech/{recipe}.py", fields, place / "runs" / output)
    return place / "runs" / output / "model"


def test_teacher_students_and_speech(place, monkeypatch):
    """End to end: the prior is learned, alignment finds the toy's even tones, the pipeline speaks with the students."""
    monkeypatch.setattr(data, "BUCKETS", [(192, 32), (128, 64)])
    small = {"width": 32, "depth": 2, "encoder_width": 48, "encoder_depth": 2, "steps": 240, "minutes": 2, "warmup": 10}
    teacher = train(place, "teacher", "teacher", **small)
    log = [json.loads(line) for line in (teacher.parent / "log.jsonl").read_text().splitlines()]
    valid = next(line for line in reversed(log) if "valid/prior" in line)
    assert valid["valid/prior"] < 0.5 and abs(valid["valid/length"] - 1) < 0.15 and valid["valid/duration"] < 0.5
    old = data.load_speech_encoder(str(teacher), torch.device("cpu"))
    (voice,), net = old.config.voices, LatentTransformer.from_pretrained(teacher)
    encoder = SpeechEncoder.from_config({**old.config, "voices": ["new", voice]})
    again = SpeechModel(encoder, LatentTransformer.from_config(net.config))
    load_weights(again, str(teacher))
    assert torch.equal(encoder.voice.weight, old.voice.weight.expand(2, -1))  # the mean of one voice, and that voice
    assert all(torch.equal(a, b) for a, b in zip(again.transformer.parameters(), net.parameters(), strict=True))
    assert net.takes_kept  # one training serves reading and editing
    common = {"teacher": teacher, "steps": 4, "minutes": 1}
    student = train(place, "comospeech", "student", **common)
    first = train(place, "zipvoice", "zipvoice", **common)
    train(place, "zipvoice_self", "self", **common, start=first, adversarial_weight=0.1)
    pretrained = place / "pretrained"
    for name, source in (
        ("tts-teacher", teacher),
        ("tts", student),
        ("speech-encoder", teacher.parent / "speech-encoder"),
    ):
        shutil.copytree(source, pretrained / name)
    monkeypatch.setattr(loading, "PRETRAINED", pretrained)
    monkeypatch.setattr(graphs, "PRETRAINED", pretrained)
    for model, steps in (("tts", "1"), ("tts-teacher", "18"), ("tts", "2")):
        file = place / f"{model}-{steps}.wav"
        assert main(["speak", TEXTS[0], "-o", str(file), "--model", model, "--steps", steps]) == 0
        length, wanted = soundfile.info(file).duration, len(toy(TEXTS[0])) / 24000
        assert abs(length - wanted) < 0.3 * wanted


def test_every_stage_trains_with_known_frames(place, monkeypatch):
    """A teacher without known frames is trained on as one with them, and so are its students; editing 0 stays without."""
    monkeypatch.setattr(data, "BUCKETS", [(192, 32), (128, 64)])
    small = {"width": 32, "depth": 1, "encoder_width": 16, "encoder_depth": 1, "steps": 2, "minutes": 1, "warmup": 1}
    plain = train(place, "teacher", "plain", **small, editing=0.0)
    assert not LatentTransformer.from_pretrained(plain).takes_kept
    seen = []
    original = LatentTransformer.forward

    def watched(net, x_t, t, s=None, cond=None):
        seen.append(None if cond.kept is None else cond.kept_mask.any(1).float().mean().item())
        return original(net, x_t, t, s, cond)

    monkeypatch.setattr(LatentTransformer, "forward", watched)
    train(place, "zipvoice", "plain_student", teacher=plain, steps=2, minutes=1)
    assert set(seen) == {None}  # no batch of a teacher without them has known frames
    kept = train(place, "teacher", "kept", **small, start=plain)
    assert max(filter(None, seen)) > 0.05
    stages = {"comospeech": "", "zipvoice": "", "zipvoice_self": place / "runs" / "kept_zipvoice" / "model"}
    for stage, start in stages.items():
        seen.clear()
        options = {"start": start} if start else {}
        student = train(place, stage, f"kept_{stage}", teacher=kept, steps=2, minutes=1, **options)
        assert LatentTransformer.from_pretrained(student).takes_kept
        assert None not in seen and max(seen) > 0.05
    with pytest.raises(ValueError, match="takes known frames: editing must be over 0"):
        train(place, "teacher", "narrower", **small, start=kept, editing=0.0)
    with pytest.raises(ValueError, match="editing must be"):
        train(place, "teacher", "more", **small, editing=1.5)


def test_a_voice_is_moved_towards_another_and_nothing_else_is():
    encoder = tiny_encoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    one, other = before["voice.weight"]
    after = move_voice(encoder, "ben", "anna", 0.25).state_dict()
    torch.testing.assert_close(after.pop("voice.weight"), torch.stack([one, 0.75 * other + 0.25 * one]))
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    with pytest.raises(ValueError, match="unknown voice 'carl': must be one of anna, ben"):
        move_voice(encoder, "carl", "anna", 0.25)
    with pytest.raises(ValueError, match="between 0 and 1"):
        move_voice(encoder, "ben", "anna", 2.0)

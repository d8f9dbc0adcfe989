"""One call of a foreign student as one CUDA graph; on a CPU the function that is recorded runs as it is."""

from __future__ import annotations

import copy

import diffusers
import pytest
import tiny_teachers
import torch
import torch.nn.functional as F
from spoilt import fail_first_run
from tiny_teachers import PROMPTS

from audiocm.diffusion.solvers import sample
from audiocm.pipelines.failures import RETRY_STRIDE
from audiocm.pipelines.sampler import item_seeds
from audiocm.teachers.bundled import TextToAudio
from audiocm.teachers.graphed import GraphedStudent
from audiocm.teachers.stable_audio import MARGIN
from audiocm.teachers.teacher import Teacher, load_teacher

W = (1.0, 7.0)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def told_of_w(teacher: Teacher) -> torch.nn.Module:
    """A student whose sounds depend on w."""
    student = teacher.student(W).requires_grad_(False)
    weight = student.net.get_submodule(student.time_layer).projection.weight
    weight.copy_(torch.randn(weight.shape, generator=seeded(1)))
    return student


@torch.no_grad()
def own_call(teacher, student, prompts, seconds, seeds, w):
    """The sounds of `sample` and `decode`, of noise drawn one by one."""
    noise = torch.stack([torch.randn(teacher.latent_shape(seconds), generator=seeded(seed)) for seed in seeds])
    cond = teacher.condition(prompts, seconds).with_guidance(w)
    wav = teacher.decode(sample(student, teacher.path, noise.to(teacher.adapter.device), cond)).cpu()
    wav = wav[..., : round(seconds * teacher.sample_rate)]
    peak = wav.flatten(1).abs().amax(1).clamp_min(1.0)
    return torch.stack([one / p * (0.99 if p > 1 else 1.0) for one, p in zip(wav, peak, strict=True)])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", tiny_teachers.NAMES)
def test_sounds_are_those_of_the_students_own_call(name, device):
    """With other prompts, seeds and w in each call, for a whole batch and for a part of it."""
    teacher = load_teacher(tiny_teachers.build(name)).to(device)
    seconds = 2.0 if name == "stable-audio-3" else tiny_teachers.seconds(name)
    if name == "stable-audio-3":  # whose random VAE makes one sound of all latents
        ratio = teacher.adapter.pipe.vae.downsampling_ratio
        teacher.adapter.decode = lambda latent: F.interpolate(latent[:, :2], scale_factor=ratio, mode="linear")
    student = told_of_w(teacher).to(device)
    fast, made = GraphedStudent(teacher, student, batch=3, audio_length_in_s=seconds), []
    for prompts, w, seed in ((PROMPTS, 2.0, 7), (PROMPTS[:1], 6.0, 7), (PROMPTS[:1], 2.0, 8)):
        expected = own_call(teacher, student, prompts, seconds, item_seeds(seeded(seed), len(prompts), 1), w)
        out = fast(prompts, w, seeded(seed))
        assert out.audios.shape == expected.shape and out.sample_rate == teacher.sample_rate
        torch.testing.assert_close(out.audios, expected, atol=1e-3, rtol=1e-3)
        cond, given = teacher.condition(prompts, seconds), fast.cond[: len(prompts)]
        for field in ("tokens", "token_mask", "pooled", "tokens_2", "token_mask_2"):
            torch.testing.assert_close(getattr(given, field), getattr(cond, field), atol=1e-4, rtol=1e-4)
        made.append((out.audios[0], expected[0]))
    if device == "cpu":
        (first, exact), *others = made
        for (
            other,
            _,
        ) in others:  # another w, another seed: tiny networks are little moved by them, but far beyond rounding
            assert (first - other).norm() > 20 * (first - exact).norm()


@pytest.mark.parametrize("name", ["audioldm", "tango", "stable-audio"])
def test_half_precision(name):
    """Weights of 16 bits: the sound is near that of 32 bits."""
    pipe, seconds = tiny_teachers.build(name), tiny_teachers.seconds(name)
    exact = GraphedStudent(load_teacher(pipe), audio_length_in_s=seconds)(PROMPTS[0], generator=seeded(0)).audios
    parts = pipe if isinstance(pipe, dict) else pipe.components
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            part.bfloat16()
    rounded = GraphedStudent(load_teacher(pipe), audio_length_in_s=seconds)(PROMPTS[0], generator=seeded(0)).audios
    assert rounded.dtype == torch.float32
    assert 1e-6 * exact.norm() < (rounded - exact).norm() < 0.2 * exact.norm()


def test_a_window_is_decoded_as_far_as_a_sound_needs_it():
    pipe = tiny_teachers.build("stable-audio")
    config = {**pipe.transformer.config, "sample_size": 100}
    pipe.register_modules(transformer=diffusers.StableAudioDiTModel.from_config(config).eval())
    teacher = load_teacher(pipe)
    latent = torch.randn(1, *teacher.latent_shape(2.0), generator=seeded(0))
    part = teacher.adapter.needed(latent, 2.0)
    assert part.shape[2] == 25 + MARGIN < latent.shape[2]
    torch.testing.assert_close(teacher.decode(part)[..., :200], teacher.decode(latent)[..., :200])


def test_a_sound_that_failed_is_made_again_and_the_others_stay(tango, monkeypatch):
    fast = GraphedStudent(tango.teacher, batch=2, audio_length_in_s=0.64)
    calls = fail_first_run(monkeypatch, fast)
    made = fast(PROMPTS, generator=seeded(3))
    seeds = item_seeds(seeded(3), 2, 1)
    seeds[1] += RETRY_STRIDE
    assert made.retries == [0, 1] and calls == [0, 1]
    torch.testing.assert_close(made.audios, own_call(tango.teacher, tango.teacher.net, PROMPTS, 0.64, seeds, None))


def test_what_cannot_be_recorded_is_refused(tango):
    teacher = tango.teacher
    with pytest.raises(TypeError, match="load_teacher"):
        GraphedStudent(tango.pipe)
    with pytest.raises(ValueError, match="student must be a network"):
        GraphedStudent(teacher, student="tango")
    own = copy.copy(teacher)
    own.adapter = TextToAudio(None)
    with pytest.raises(ValueError, match="GraphedTextToAudio"):
        GraphedStudent(own)
    with pytest.raises(ValueError, match="batch"):
        GraphedStudent(teacher, batch=0)
    for seconds in (-1.0, 1e-6, "ten"):
        with pytest.raises((ValueError, TypeError), match="audio_length_in_s"):
            GraphedStudent(teacher, audio_length_in_s=seconds)
    with pytest.raises(ValueError, match="at most"):
        GraphedStudent(tiny_teachers.make_case("stable-audio").teacher, audio_length_in_s=100.0)
    fast = GraphedStudent(teacher, audio_length_in_s=0.64)
    for arguments, words in (
        ((PROMPTS,), "recorded for 1"),
        (("",), "prompt is empty"),
        (("rain", 3.0), "takes no guidance weight"),
        (("rain", None, 7), "generator"),
        (("rain", None, None, -1), "max_retries"),
        (("rain", None, None, 0, "ignore"), "on_failure"),
    ):
        with pytest.raises(ValueError, match=words):
            fast(*arguments)
    told = GraphedStudent(teacher, teacher.student(W), audio_length_in_s=0.64)
    for w in (None, 8.0):
        with pytest.raises(ValueError, match="guidance_scale must be between 1 and 7"):
            told("rain", w)

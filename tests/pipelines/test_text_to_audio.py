"""The text-to-audio pipeline on tiny random networks: seeds, shapes, calls, guidance, temperature, and what is refused."""

import pytest
import torch
from tiny_model import tiny_pipeline

from audiocm.diffusion import solvers
from audiocm.pipelines.sampler import PerItemNoise, item_seeds
from audiocm.pipelines.text_to_audio import TextToAudioPipeline


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def student() -> TextToAudioPipeline:
    return tiny_pipeline(student=True)


@pytest.fixture(scope="module")
def teacher() -> TextToAudioPipeline:
    return tiny_pipeline(student=False)


@pytest.fixture
def calls(student, teacher):
    """Every call of a transformer as (batch, time, guidance input)."""
    seen = []

    def note(_module, args, _output):
        guidance = args[3].guidance
        seen.append((len(args[0]), float(args[1][0]), None if guidance is None else guidance.tolist()))

    hooks = [pipe.transformer.register_forward_hook(note) for pipe in (student, teacher)]
    yield seen
    for hook in hooks:
        hook.remove()


def test_what_a_call_returns(student):
    out = student(["a dog barks", "rain"], audio_length_in_s=1.3, num_waveforms_per_prompt=2, generator=seeded(0))
    assert out.audios.shape == (4, 31_200) and out.audios.dtype == torch.float32 and out.sample_rate == 24_000
    assert out.audios.abs().max() <= 1 and (out.audios.square().mean(1) > 1e-8).all()
    assert (out.audios[0] - out.audios[1]).abs().max() > 1e-3  # takes differ
    assert (out.audios[0] - out.audios[2]).abs().max() > 1e-5  # so do prompts


def test_the_same_seed_is_the_same_sound_alone_or_in_a_batch(student):
    batch = student(["rain", "a dog barks", "wind"], audio_length_in_s=1, num_waveforms_per_prompt=2,
                    generator=seeded(5), num_inference_steps=3).audios  # fmt: skip
    alone = student("a dog barks", audio_length_in_s=1, generator=seeded(5), num_inference_steps=3).audios
    takes = student("a dog barks", audio_length_in_s=1, num_waveforms_per_prompt=2, generator=[seeded(5)],
                    num_inference_steps=3).audios  # fmt: skip
    assert torch.allclose(batch[2:3], alone, atol=1e-5) and torch.allclose(batch[2:4], takes, atol=1e-5)
    other = student("a dog barks", audio_length_in_s=1, generator=seeded(6), num_inference_steps=3).audios
    assert (other - alone).abs().max() > 1e-3


def test_a_student_makes_a_sound_in_exactly_one_call_and_gets_w(student, calls):
    student(["rain", "wind"], audio_length_in_s=1, guidance_scale=4.5)
    assert calls == [(2, 80.0, [4.5, 4.5])]
    calls.clear()
    student("rain", audio_length_in_s=1, num_inference_steps=4)
    assert [call[0] for call in calls] == [1] * 4 and calls[0][1] > calls[1][1] > calls[2][1] > calls[3][1]


def test_a_teacher_is_guided_from_outside(teacher, calls):
    teacher("rain", audio_length_in_s=1, num_inference_steps=5, guidance_scale=3)
    assert len(calls) == 9 and {call[0] for call in calls} == {2}  # Heun: 5 steps, the last an Euler step
    assert {call[2] for call in calls} == {None}
    calls.clear()
    teacher("rain", audio_length_in_s=1, num_inference_steps=5, guidance_scale=1)
    assert {call[0] for call in calls} == {1}
    calls.clear()
    teacher("rain", audio_length_in_s=1, num_inference_steps=5, solver=solvers.dpmpp_2m)
    assert len(calls) == 5


def test_temperature_is_the_std_of_the_first_noise(student):
    call = {"prompt": "rain", "audio_length_in_s": 1, "output_type": "latent"}
    frames = student.codec.frames(1)
    unit = PerItemNoise(item_seeds(seeded(0), 1, 1), student.codec.channels, student.transformer.config.max_frames)(
        frames, "cpu"
    )
    cool = student(**call, generator=seeded(0), temperature=0.5).audios
    assert torch.equal(cool, student(**call, latents=0.5 * unit).audios)
    assert torch.equal(student(**call, generator=seeded(0)).audios, student(**call, latents=unit).audios)
    assert not torch.equal(cool, student(**call, latents=unit).audios)


def test_gamma_is_the_share_of_fresh_noise(student):
    call = {"prompt": "rain", "audio_length_in_s": 1, "num_inference_steps": 3, "output_type": "latent"}
    default = student(**call, generator=seeded(0)).audios
    consistency = student(**call, generator=seeded(0), solver=solvers.student_step, gamma=1.0).audios
    plain = student(**call, generator=seeded(0), solver=solvers.student_step).audios
    assert torch.equal(default, consistency)
    assert torch.equal(plain, student(**call, generator=seeded(0), gamma=0.0).audios) and not torch.equal(
        plain, default
    )


def test_guidance_changes_the_sound(student, teacher):
    for pipe in (student, teacher):
        sounds = [pipe("rain", 1, 2, w, generator=seeded(0), output_type="latent").audios for w in (0.0, 1.0, 3.0)]
        assert (sounds[0] - sounds[1]).abs().max() > 1e-3 and (sounds[1] - sounds[2]).abs().max() > 1e-3


def test_guidance_away_from_a_negative_prompt(teacher):
    """clean = neg + w (cond - neg): with w = 1 nothing is left of it, with the prompt itself no w matters."""
    call = {"audio_length_in_s": 1, "num_inference_steps": 2, "output_type": "latent"}
    plain = teacher("rain", guidance_scale=1, generator=seeded(0), **call).audios
    same = teacher("rain", guidance_scale=4, negative_prompt="rain", generator=seeded(0), **call).audios
    one = teacher("rain", guidance_scale=1, negative_prompt="a dog", generator=seeded(0), **call).audios
    far = teacher("rain", guidance_scale=4, negative_prompt="a dog", generator=seeded(0), **call).audios
    assert torch.allclose(same, plain, atol=1e-4) and torch.allclose(one, plain, atol=1e-4)
    assert (far - plain).abs().max() > 1e-3


def test_given_latents_and_other_outputs(student):
    noise = PerItemNoise(item_seeds(seeded(0), 1, 1), 4, 240)(24, "cpu")
    given = student("rain", audio_length_in_s=1, latents=noise, output_type="np").audios
    drawn = student("rain", audio_length_in_s=1, generator=seeded(0), output_type="np").audios
    assert given.shape == (1, 24_000) and abs(given - drawn).max() == 0
    assert student("rain", audio_length_in_s=1, output_type="latent").audios.shape == (1, 4, 24)
    with pytest.raises(ValueError, match=r"\[1, 4, 24\], not \[1, 4, 7\]"):
        student("rain", audio_length_in_s=1, latents=torch.zeros(1, 4, 7))


def test_callback_sees_every_step(student):
    seen = []
    student("rain", audio_length_in_s=1, num_inference_steps=3,
            callback=lambda step, time, latents: seen.append((step, tuple(latents.shape))))  # fmt: skip
    assert seen == [(0, (1, 4, 24)), (1, (1, 4, 24)), (2, (1, 4, 24))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": ["rain", " \n"]}, "the prompt is empty"),
        ({"prompt": []}, "the prompt is empty"),
        ({"audio_length_in_s": 0.1}, r"0\.1 seconds is outside .*: 0\.5 to 10"),
        ({"audio_length_in_s": 30}, r"30 seconds is outside .*: 0\.5 to 10"),
        ({"audio_length_in_s": float("nan")}, "audio_length_in_s must be a number, not nan"),
        (
            {"num_inference_steps": 0},
            "num_inference_steps must be a whole number of at least 1 and at most 1,000, not 0",
        ),
        ({"num_inference_steps": 1.5}, "steps must be"),
        ({"guidance_scale": 7}, "guidance 7 is outside what the model allows: 0 to 6"),
        ({"guidance_scale": -1}, "guidance -1 is outside"),
        ({"num_waveforms_per_prompt": 0}, "num_waveforms_per_prompt must be a whole number"),
        ({"output_type": "wav"}, "output_type"),
        ({"negative_prompt": "a dog"}, "negative_prompt needs a teacher"),
        ({"temperature": 0}, "temperature must be a number above 0 and at most 2, not 0"),
    ],
)
def test_bad_input_is_one_line_that_says_what_is_allowed(student, arguments, message):
    with pytest.raises(ValueError, match=message) as raised:
        student(**({"prompt": "rain"} | arguments))
    assert "\n" not in str(raised.value)

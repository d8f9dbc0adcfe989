"""The text-to-audio pipeline on tiny random nets: seeds, shapes, one call, guidance, folders, and what must be refused."""

import json

import pytest
import torch
from tiny_model import tiny_pipeline

from audiocm.diffusion import solvers
from audiocm.models import weights
from audiocm.pipelines import loading
from audiocm.pipelines.latent_pipeline import AudioError, ItemNoise, item_generators, validate_audio
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
    """Every call of a transformer as (batch, time, guidance told)."""
    seen = []

    def note(_module, args, _output):
        told = args[3] if len(args) > 3 else None
        seen.append((len(args[0]), float(args[1][0]), None if told.guidance is None else told.guidance.tolist()))

    hooks = [pipe.transformer.register_forward_hook(note) for pipe in (student, teacher)]
    yield seen
    for hook in hooks:
        hook.remove()


def test_what_a_call_returns(student):
    out = student(["a dog barks", "rain"], audio_length_in_s=1.3, num_waveforms_per_prompt=2, generator=seeded(0))
    assert out.audios.shape == (4, 31_200) and out.audios.dtype == torch.float32 and out.sample_rate == 24_000
    assert out.audios.abs().max() <= 1 and (out.audios.square().mean(1) > 1e-8).all()
    assert (out.audios[0] - out.audios[1]).abs().max() > 1e-3  # takes differ
    assert (out.audios[0] - out.audios[2]).abs().max() > 1e-5  # words are heard


def test_the_same_seed_is_the_same_sound_alone_or_in_a_batch(student):
    batch = student(["rain", "a dog barks", "wind"], audio_length_in_s=1, num_waveforms_per_prompt=2,
                    generator=seeded(5), num_inference_steps=3).audios  # fmt: skip
    alone = student("a dog barks", audio_length_in_s=1, generator=seeded(5), num_inference_steps=3).audios
    takes = student("a dog barks", audio_length_in_s=1, num_waveforms_per_prompt=2, generator=[seeded(5)],
                    num_inference_steps=3).audios  # fmt: skip
    assert torch.allclose(batch[2:3], alone, atol=1e-5) and torch.allclose(batch[2:4], takes, atol=1e-5)
    other = student("a dog barks", audio_length_in_s=1, generator=seeded(6), num_inference_steps=3).audios
    assert (other - alone).abs().max() > 1e-3


def test_a_generator_moves_on_and_lists_of_generators_stand_for_prompts_or_sounds():
    generator = seeded(0)
    first, second = item_generators(generator, 1, 1), item_generators(generator, 1, 1)
    assert first != second and first == item_generators(seeded(0), 1, 1)
    assert item_generators([seeded(0), seeded(1)], 2, 2) == [
        *item_generators(seeded(0), 1, 2),
        *item_generators(seeded(1), 1, 2),
    ]
    assert item_generators([seeded(0), seeded(1)], 1, 2) == [
        *item_generators(seeded(0), 1, 1),
        *item_generators(seeded(1), 1, 1),
    ]
    assert len(set(item_generators(None, 1, 4))) == 4
    with pytest.raises(ValueError, match="3 generators for 2 prompts of 2"):
        item_generators([seeded(0)] * 3, 2, 2)


def test_noise_of_a_shorter_sound_is_the_start_of_the_longer_ones():
    long, short = ItemNoise([3, 4], 5, 100)(100, "cpu"), ItemNoise([4], 5, 100)(20, "cpu")
    assert torch.equal(short[0], long[1, :, :20]) and abs(float(long.std()) - 1) < 0.1


def test_a_student_makes_a_sound_in_exactly_one_call_and_is_told_w(student, calls):
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
    unit = ItemNoise(item_generators(seeded(0), 1, 1), student.codec.channels, student.transformer.config.max_frames)(
        frames, "cpu"
    )
    cool = student(**call, generator=seeded(0), temperature=0.5).audios
    assert torch.equal(cool, student(**call, latents=0.5 * unit).audios)
    assert torch.equal(student(**call, generator=seeded(0)).audios, student(**call, latents=unit).audios)
    assert not torch.equal(cool, student(**call, latents=unit).audios)


def test_guidance_is_a_live_knob(student, teacher):
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
    noise = ItemNoise(item_generators(seeded(0), 1, 1), 4, 240)(24, "cpu")
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
        ({"audio_length_in_s": float("nan")}, "nan seconds is outside"),
        ({"num_inference_steps": 0}, "steps must be a whole number of at least 1, not 0"),
        ({"num_inference_steps": 1.5}, "steps must be"),
        ({"guidance_scale": 7}, "guidance 7 is outside what the model allows: 0 to 6"),
        ({"guidance_scale": -1}, "guidance -1 is outside"),
        ({"num_waveforms_per_prompt": 0}, "the number of sounds"),
        ({"output_type": "wav"}, "output_type"),
        ({"negative_prompt": "a dog"}, "negative_prompt needs a teacher"),
        ({"temperature": 0}, "temperature must be over 0 and at most 2, not 0"),
    ],
)
def test_bad_input_is_one_line_that_says_what_is_allowed(student, arguments, message):
    with pytest.raises(ValueError, match=message) as raised:
        student(**({"prompt": "rain"} | arguments))
    assert "\n" not in str(raised.value)


def test_what_is_no_sound_is_refused():
    """Silent, not finite, clipped: an error that names the prompt. A few peaks over full scale are turned down."""
    sound = 0.1 * torch.randn(1, 24_000, generator=seeded(0))
    assert torch.equal(validate_audio(sound, ["ok"]), sound)
    loud = sound / sound.abs().max() * 1.3
    assert torch.allclose(validate_audio(loud, ["ok"]), loud * 0.99 / 1.3, atol=1e-6)
    broken = sound.clone()
    broken[0, 77] = float("nan")
    faults = {"silent": sound * 0, "not finite": broken, "clipped": (sound * 8).clamp(-1, 1)}
    faults |= {"is clipped": sound * 20, "is silent": sound * 1e-4, "are not finite": sound / 0}
    for fault, wav in faults.items():
        with pytest.raises(AudioError, match=f"'bad'.*{fault}"):
            validate_audio(torch.cat([sound, wav]), ["good", "bad"])


def test_a_collapsed_net_is_an_error(student):
    before = student.codec.decode
    student.codec.decode = lambda latent, loudest: torch.zeros(len(latent), 30_000)
    try:
        with pytest.raises(AudioError, match="'rain' is silent"):
            student("rain", audio_length_in_s=1)
    finally:
        student.codec.decode = before


@pytest.mark.parametrize("variant", [None, "int8"])
def test_a_saved_folder_is_complete_and_loads(student, tmp_path, variant):
    student.save_pretrained(tmp_path, variant=variant)
    again = TextToAudioPipeline.from_pretrained(tmp_path)
    assert again.guidance_range == (0.0, 6.0) and again.config.num_inference_steps == 1
    sounds = [pipe("rain", audio_length_in_s=1, generator=seeded(0)).audios for pipe in (student, again)]
    assert (sounds[0] - sounds[1]).square().mean() <= (1e-2 if variant else 0) * sounds[0].square().mean()


@pytest.fixture
def bundled(student, tmp_path, monkeypatch):
    """A place for bundled models that holds one, "tiny", with shared codec and text encoder."""
    monkeypatch.setattr(loading, "PRETRAINED", tmp_path)
    student.vae.save_pretrained(tmp_path / "codec" / "vae", variant="int8")
    student.vocoder.save_pretrained(tmp_path / "codec" / "vocoder", variant="int8")
    student.conditioner.save_int8(tmp_path / "text-encoder")
    loading.save_bundle(tmp_path / "tiny", student.transformer, guidance_scale=2.0, seconds_range=[1, 5])
    return tmp_path


def test_a_bundled_model_loads_by_name(bundled, student):
    pipe = TextToAudioPipeline.from_pretrained("tiny")
    assert pipe.config.guidance_scale == 2.0 and tuple(pipe.config.seconds_range) == (1, 5)
    assert loading.bundled_models() == ["tiny"]
    pipe("rain", audio_length_in_s=1)
    pipe.save_pretrained(bundled / "whole")
    assert TextToAudioPipeline.from_pretrained(bundled / "whole").config.guidance_scale == 2.0


def test_unknown_and_damaged_models_are_named(bundled):
    with pytest.raises(ValueError, match="unknown model 'tta-6': bundled are tiny"):
        TextToAudioPipeline.from_pretrained("tta-6")
    with pytest.raises(ValueError, match=r"codec: it has neither bundle\.json nor model_index\.json"):
        TextToAudioPipeline.from_pretrained(bundled / "codec")
    weights = bundled / "tiny" / "diffusion_pytorch_model.int8.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"tiny/diffusion_pytorch_model\.int8\.safetensors is damaged"):
        TextToAudioPipeline.from_pretrained("tiny")
    (bundled / "tiny" / "bundle.json").write_text("{}")
    with pytest.raises(ValueError, match=r"bundle\.json is damaged"):
        TextToAudioPipeline.from_pretrained("tiny")


def test_a_model_folder_cannot_make_us_import_other_code(student, tmp_path):
    student.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"vae": ["os", "system"]}))
    with pytest.raises(ValueError, match="are allowed"):
        TextToAudioPipeline.from_pretrained(tmp_path)


def test_a_model_trained_elsewhere_finds_the_bundled_parts(tmp_path):
    loading.save_bundle(tmp_path / "mine", tiny_pipeline().transformer)
    _, homes = loading.read_index(tmp_path / "mine")
    assert (
        homes["text_encoder"][2] == weights.PRETRAINED / "text-encoder"
        and homes["transformer"][2] == tmp_path / "mine" / "."
    )
    (tmp_path / "codec" / "vae").mkdir(parents=True)
    assert loading.read_index(tmp_path / "mine")[1]["vae"][2].resolve() == (tmp_path / "codec" / "vae").resolve()

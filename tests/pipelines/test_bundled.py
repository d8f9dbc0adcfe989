"""The bundled models: loudness, bandwidth, texture, response to prompts and notes, and student against teacher.

A test is skipped if its model is not in the package.
"""

import pytest
import torch

from audiocm.audio.pitch import estimate_f0
from audiocm.models.folders import PRETRAINED
from audiocm.pipelines.loading import bundled_models
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline

needs = {
    name: pytest.mark.skipif(name not in bundled_models(), reason=f"{name} is not bundled")
    for name in ("tta", "tta-teacher", "tts", "tts-teacher")
}
NOISY, TONAL = ["heavy rain falls", "wind blows", "applause"], ["a flute plays a long note", "a violin plays a note"]


@pytest.fixture(scope="module")
def student() -> TextToAudioPipeline:
    return TextToAudioPipeline.from_pretrained("tta")


@pytest.fixture(scope="module")
def sounds(student) -> dict[str, torch.Tensor]:
    """Two takes of 3 seconds for each prompt: [take, sample]."""
    prompts = [*NOISY, *TONAL, "a dog barks", "an engine runs"]
    audios = student(prompts, 3.0, num_waveforms_per_prompt=2, generator=seeded(0)).audios
    return dict(zip(prompts, audios.split(2), strict=True))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def power(wav: torch.Tensor) -> torch.Tensor:
    """Power spectra of frames [item, bin, frame], 1,024 samples each."""
    return torch.stft(wav, 1024, 256, window=torch.hann_window(1024), return_complex=True).abs().square() + 1e-12


def flatness(wav: torch.Tensor) -> float:
    """Geometric over arithmetic mean of the power spectrum of the louder frames: near 0 tonal, towards 1 noise."""
    frames = power(wav).transpose(1, 2).flatten(0, 1)
    loud = frames[frames.sum(1) >= frames.sum(1).median()]
    return float((loud.log().mean(1).exp() / loud.mean(1)).mean())


@needs["tta"]
def test_every_sound_is_loud_enough_and_wide_enough(sounds):
    """RMS above -50 dB, and a spectral rolloff (99 %) that a collapsed network or vocoder does not reach."""
    for prompt, wav in sounds.items():
        assert wav.square().mean(1).sqrt().min() > 10 ** (-50 / 20), prompt
    spectrum = torch.cat(list(sounds.values()))
    shares = power(spectrum).mean(-1)
    rolloff = (shares.cumsum(1) / shares.sum(1, keepdim=True) < 0.99).sum(1) * 24_000 / 1024
    assert rolloff.median() > 1_000 and rolloff.max() > 4_000, rolloff


@needs["tta"]
def test_noises_are_noisier_than_notes(sounds):
    noisy, tonal = (torch.tensor([flatness(sounds[prompt]) for prompt in group]) for group in (NOISY, TONAL))
    assert noisy.mean() > 2 * tonal.mean(), (noisy, tonal)


@needs["tta"]
def test_prompts_determine_the_spectrum_more_than_seeds(sounds):
    """For most prompts, the spectra of two takes are closer to each other than to those of other prompts."""
    shapes = torch.stack([power(wav).mean(-1).unflatten(1, (27, 19)).mean(-1).log() for wav in sounds.values()])
    shapes = shapes - shapes.mean(-1, keepdim=True)
    first, second = shapes.unbind(1)
    distance = (first[:, None] - second[None]).norm(dim=-1)
    others = (distance.sum(1) - distance.diagonal()) / (len(distance) - 1)
    assert (distance.diagonal() < others).float().mean() > 0.7


@needs["tta"]
def test_a_seed_is_a_sound_in_any_batch(student, sounds):
    alone = student("a dog barks", 3.0, generator=seeded(0)).audios
    assert torch.allclose(alone[0], sounds["a dog barks"][0], atol=2e-3)


@needs["tta"]
def test_guidance_changes_a_single_call(student):
    low, high = (
        student("a dog barks", 2.0, 1, w, generator=seeded(0), output_type="latent").audios for w in (1.0, 5.0)
    )
    assert (low - high).norm() > 0.05 * low.norm()


@needs["tta"]
@pytest.mark.parametrize("seconds", [0.5, 10.0])
def test_the_shortest_and_the_longest_sound(student, seconds):
    assert student("heavy rain falls", seconds, generator=seeded(1)).audios.shape == (1, round(seconds * 24_000))


@needs["tta"]
@needs["tta-teacher"]
def test_one_call_ends_near_the_teachers_ode(student):
    """With the same noise, prompt and w, the student's latent is nearer to the teacher's than to those of other prompts."""
    teacher = TextToAudioPipeline.from_pretrained("tta-teacher")
    call = {"audio_length_in_s": 1.5, "guidance_scale": 3.0, "output_type": "latent"}
    prompts = ["heavy rain falls", "a dog barks", "thunder rolls", "a flute plays a long note", "a piano plays a chord"]
    ends = teacher(prompts, num_inference_steps=6, generator=seeded(0), **call).audios
    jumps = student(prompts, num_inference_steps=1, generator=seeded(0), **call).audios
    error = (jumps[:, None] - ends[None]).square().mean((2, 3))
    own, others = error.diagonal().mean(), error[~torch.eye(len(prompts), dtype=torch.bool)].mean()
    assert own < 0.75 * others, error


@needs["tta"]
def test_the_package_is_small_and_every_model_has_a_card():
    for name in bundled_models():
        assert list((PRETRAINED / name).rglob("README.md")), f"{name} has no model card"
    assert sum(file.stat().st_size for file in PRETRAINED.rglob("*") if file.is_file()) < 240e6


# --- speech -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def voice() -> TextToSpeechPipeline:
    return TextToSpeechPipeline.from_pretrained("tts")


@needs["tts"]
def test_speech_has_a_plausible_length_and_loudness(voice):
    """9 to 22 characters a second, all voices above -45 dB, and half the length at twice the speed."""
    text = "The old lighthouse keeper climbed the stairs with a lamp in his hand."
    for name in voice.voices:
        wav = voice(text, voice=name, generator=seeded(0)).audios[0]
        assert 9 < len(text) / (len(wav) / voice.sample_rate) < 22 and wav.square().mean().sqrt() > 10 ** (-45 / 20)
    fast = voice(text, speed=2.0, voice=voice.voices[0], generator=seeded(0)).audios[0]
    slow = voice(text, voice=voice.voices[0], generator=seeded(0)).audios[0]
    assert len(fast) == pytest.approx(len(slow) / 2, rel=0.05)


@needs["tts"]
def test_the_voice_sings_given_notes(voice):
    """In one call, half of the voiced frames of a scale are within a semitone of their note; by chance it is a sixth."""
    notes = [(55 + step, 0.6) for step in (0, 2, 4, 5, 7, 5, 4, 2)]
    wav = voice("La la la la la la la la.", notes=notes, generator=seeded(0)).audios[0].numpy()
    f0 = torch.from_numpy(estimate_f0(wav, voice.sample_rate).copy())
    at = (torch.arange(len(f0)) + 0.5) / len(f0) * len(wav) / voice.sample_rate
    begin = (len(wav) / voice.sample_rate - 0.6 * len(notes)) / 2  # silence before and after
    target = torch.tensor([note for note, _ in notes])[((at - begin) / 0.6).long().clamp(0, len(notes) - 1)]
    voiced = f0 > 0
    semitones = 69 + 12 * (f0[voiced] / 440).log2() - target[voiced]
    assert voiced.float().mean() > 0.4 and (semitones.abs() < 1).float().mean() > 0.5, semitones

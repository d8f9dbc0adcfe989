"""Model folders: saved and bundled models, those of earlier versions, damaged ones, and those that ask for other code."""

import errno
import inspect
import json

import pytest
import torch
from tiny_model import tiny_pipeline
from tiny_speech import tiny_speech

from audiocm.codec.vae import MelVAE
from audiocm.models import folders
from audiocm.pipelines import loading
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def student() -> TextToAudioPipeline:
    return tiny_pipeline(student=True)


@pytest.mark.parametrize("variant", [None, "int8"])
def test_a_saved_folder_is_complete_and_loads(student, tmp_path, variant):
    student.save_pretrained(tmp_path, variant=variant)
    again = TextToAudioPipeline.from_pretrained(tmp_path)
    assert again.guidance_range == (0.0, 6.0) and again.config.num_inference_steps == 1
    sounds = [pipe("rain", audio_length_in_s=1, generator=seeded(0)).audios for pipe in (student, again)]
    assert (sounds[0] - sounds[1]).square().mean() <= (1e-2 if variant else 0) * sounds[0].square().mean()


@pytest.fixture
def bundled(student, tmp_path, monkeypatch):
    """A folder in the place of the bundled models, with one, "tiny", and its codec and text encoder."""
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
    with pytest.raises(ValueError, match=r"bundle\.json is damaged: components is missing"):
        TextToAudioPipeline.from_pretrained("tiny")


@pytest.mark.parametrize(
    "component",
    [["os", "system"], ["audiocm.cli", "main"], ["diffusers", "AutoencoderKL"], ["audiocm", "Vocoder"], [None, None]],
)
def test_a_model_folder_cannot_name_other_code(student, tmp_path, component):
    student.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"vae": component}))
    with pytest.raises(
        ValueError, match=r"model_index\.json is damaged: vae is a .*: only audiocm's MelVAE is allowed"
    ):
        TextToAudioPipeline.from_pretrained(tmp_path)


EARLIER = {  # component -> the modules that earlier versions named in model_index.json
    "transformer": "audiocm.backbone",
    "vae": "audiocm.codec",
    "vocoder": "audiocm.codec",
    "speech_encoder": "audiocm.speech",
}


@pytest.mark.parametrize("build", [tiny_pipeline, tiny_speech])
def test_folders_of_earlier_versions_load(build, tmp_path):
    pipe = build()
    pipe.save_pretrained(tmp_path)
    file = tmp_path / "model_index.json"
    index = json.loads(file.read_text())
    earlier = {name: [module, index[name][1]] for name, module in EARLIER.items() if name in index}
    assert len(earlier) >= 3 and all(index[name][0].startswith("audiocm.") for name in earlier)
    file.write_text(json.dumps(index | earlier))
    again = type(pipe).from_pretrained(tmp_path)
    first, second = (one("Hello there.", generator=seeded(0)).audios for one in (pipe, again))
    assert torch.equal(first[0], second[0])


def test_a_speech_folder_is_complete_and_loads(tmp_path):
    pipe = tiny_speech()
    pipe.save_pretrained(tmp_path)
    again = TextToSpeechPipeline.from_pretrained(tmp_path)
    first, second = (one("Hello there.", generator=seeded(0)).audios[0] for one in (pipe, again))
    assert torch.allclose(first, second, atol=1e-4) and again.voices == ("anna", "ben")
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["speech_encoder"] == ["audiocm.speech.encoder", "SpeechEncoder"]
    with pytest.raises(ValueError, match="is no model for TextToAudioPipeline: it has speech_encoder, transformer"):
        TextToAudioPipeline.from_pretrained(tmp_path)


def test_required_components_are_the_arguments_without_default():
    """A pipeline's list of components cannot drift from its constructor."""
    for cls in (TextToAudioPipeline, TextToSpeechPipeline):
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        assert set(cls.required_components) == {one.name for one in parameters if one.default is one.empty}


def test_errors_of_the_system_are_not_blamed_on_a_component(bundled, monkeypatch):
    def full_disk(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MelVAE, "from_pretrained", full_disk)
    with pytest.raises(OSError, match=r"^\[Errno 28\] No space left on device$"):
        TextToAudioPipeline.from_pretrained("tiny")


def test_a_model_trained_elsewhere_finds_the_bundled_components(tmp_path):
    loading.save_bundle(tmp_path / "mine", tiny_pipeline().transformer)
    _, components = loading.read_index(tmp_path / "mine")
    assert components["text_encoder"] == folders.PRETRAINED / "text-encoder"
    assert components["transformer"] == tmp_path / "mine"
    (tmp_path / "codec" / "vae").mkdir(parents=True)
    _, components = loading.read_index(tmp_path / "mine")
    assert components["vae"].resolve() == (tmp_path / "codec" / "vae").resolve()


def test_a_pipeline_of_diffusers_is_told_apart_from_a_damaged_one(tmp_path):
    (tmp_path / "model_index.json").write_text(
        json.dumps({"_class_name": "AudioLDMPipeline", "unet": ["diffusers", "X"]})
    )
    with pytest.raises(
        ValueError, match=r"holds diffusers' AudioLDMPipeline, which diffusers\.DiffusionPipeline loads"
    ):
        TextToAudioPipeline.from_pretrained(tmp_path)

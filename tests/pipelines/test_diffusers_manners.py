"""A user of diffusers finds the pipelines as diffusers' own: keywords, precision, callbacks, folders, offloading."""

import copy
import inspect
import json
import pickle

import accelerate
import pytest
import torch
from diffusers import AudioLDM2Pipeline, AutoModel, DiffusionPipeline, StableAudioPipeline
from diffusers.utils import dynamic_modules_utils
from tiny_model import tiny_pipeline, tiny_transformer
from tiny_speech import tiny_speech

from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines.text_to_audio import TextToAudioPipeline

HALF = (torch.bfloat16, torch.float16)
BUILDERS = (tiny_pipeline, tiny_speech)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sound(pipe: DiffusionPipeline, **options) -> torch.Tensor:
    """One second, or a sentence, of a fixed seed."""
    options = ({"audio_length_in_s": 1} if isinstance(pipe, TextToAudioPipeline) else {}) | options
    return pipe("Hello there.", generator=seeded(), **options).audios[0]


def latent(pipe: TextToAudioPipeline, prompt: str | None = "rain", **options) -> torch.Tensor:
    return pipe(prompt, audio_length_in_s=1, generator=seeded(), output_type="latent", **options).audios


def precisions(pipe: DiffusionPipeline) -> set[torch.dtype]:
    networks = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    return {weight.dtype for network in networks for weight in network.parameters()}


@pytest.fixture(scope="module")
def student() -> TextToAudioPipeline:
    return tiny_pipeline()


@pytest.fixture(scope="module")
def teacher() -> TextToAudioPipeline:
    return tiny_pipeline(student=False)


@pytest.fixture(scope="module")
def folder(student, tmp_path_factory):
    place = tmp_path_factory.mktemp("saved")
    student.save_pretrained(place)
    return place


# --- calls ------------------------------------------------------------------------------------------------------------

# keywords of diffusers' audio pipelines that belong to their schedulers, attention processors or further encoders
ABSENT = {"eta", "cross_attention_kwargs", "transcription", "max_new_tokens", "generated_prompt_embeds"}
ABSENT |= {"negative_generated_prompt_embeds", "audio_start_in_s", "initial_audio_waveforms"}
ABSENT |= {"initial_audio_sampling_rate"}


@pytest.mark.parametrize("pipeline", [AudioLDM2Pipeline, StableAudioPipeline])
def test_keywords_are_those_of_diffusers_audio_pipelines(pipeline):
    theirs = set(inspect.signature(pipeline.__call__).parameters)
    assert theirs - set(inspect.signature(TextToAudioPipeline.__call__).parameters) <= ABSENT


def test_an_unknown_keyword_is_refused(student):
    with pytest.raises(TypeError, match="num_images"):
        student("rain", num_images=2)


@pytest.mark.parametrize("build", BUILDERS)
def test_return_dict(build):
    pipe = build()
    plain = sound(pipe)
    (audios,) = pipe(
        "Hello there.",
        generator=seeded(),
        return_dict=False,
        **({"audio_length_in_s": 1} if build is tiny_pipeline else {}),
    )
    assert torch.equal(audios[0], plain)


def test_the_length_has_two_names(student):
    assert torch.equal(sound(student), sound(student, audio_length_in_s=None, audio_end_in_s=1))
    assert student("rain").audios.shape == (1, 4 * 24_000)
    with pytest.raises(ValueError, match="audio_length_in_s and audio_end_in_s are two names"):
        student("rain", audio_length_in_s=1, audio_end_in_s=2)


@pytest.mark.parametrize("build", BUILDERS)
def test_callbacks(build):
    pipe, seen = build(), []
    plain = sound(pipe, num_inference_steps=3, callback=lambda *step: seen.append(step[0]), callback_steps=2)
    assert seen == [0, 2]

    def halve_the_last(given, step, time, tensors):
        seen.append((given is pipe, step < given.num_timesteps == 3, set(tensors)))
        return {"latents": tensors["latents"] * (0.5 if step == 2 else 1.0)}

    seen.clear()
    changed = sound(pipe, num_inference_steps=3, callback_on_step_end=halve_the_last)
    assert seen == [(True, True, {"latents"})] * 3
    assert (changed - plain).abs().max() > 1e-3
    same = sound(pipe, num_inference_steps=3, callback_on_step_end=lambda *_: {})
    assert torch.equal(same, plain)


def test_what_callbacks_return_is_the_sample(student):
    zeros = latent(student, callback_on_step_end=lambda pipe, step, time, tensors: {"latents": 0 * tensors["latents"]})
    assert not zeros.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"callback_steps": 0}, "callback_steps must be a whole number of at least 1, not 0"),
        ({"callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"]}, "'latents' only, not 'prompt_embeds'"),
    ],
)
@pytest.mark.parametrize("build", BUILDERS)
def test_wrong_callback_options_are_named(build, options, message):
    with pytest.raises(ValueError, match=message):
        build()("Hello there.", **options)


def test_prompt_embeds_stand_for_prompts(student, teacher):
    embeds, mask = student.encode_prompt(["rain", "a dog barks"])
    assert embeds.shape == (2, 32, 16) and mask.shape == (2, 32) and mask.dtype == torch.bool
    plain = latent(student, ["rain", "a dog barks"], num_waveforms_per_prompt=2)
    assert torch.equal(
        latent(student, None, prompt_embeds=embeds, attention_mask=mask, num_waveforms_per_prompt=2), plain
    )
    real = mask[0].sum()
    short = latent(student, None, prompt_embeds=embeds[:1, :real])
    assert torch.allclose(short, latent(student), atol=1e-5)
    call = {"num_inference_steps": 2, "guidance_scale": 3.0}
    away = dict(zip(("negative_prompt_embeds", "negative_attention_mask"), teacher.encode_prompt("music"), strict=True))
    assert torch.equal(latent(teacher, **call, **away), latent(teacher, **call, negative_prompt="music"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "rain", "prompt_embeds": torch.zeros(1, 4, 16)}, "prompt and prompt_embeds exclude each other"),
        (
            {"prompt_embeds": torch.zeros(1, 4, 8)},
            r"prompt_embeds must have the shape \[prompt, token, 16\], not \[1, 4, 8\]",
        ),
        (
            {"prompt_embeds": torch.zeros(1, 4, 16), "attention_mask": torch.ones(1, 5)},
            r"attention_mask must be \[prompt, token\] = \[1, 4\], not \[1, 5\]",
        ),
        ({}, "the prompt is empty"),
        (
            {"prompt": "rain", "negative_prompt": "a", "negative_prompt_embeds": torch.zeros(1, 4, 16)},
            "negative_prompt and",
        ),
        ({"prompt": "rain", "negative_prompt_embeds": torch.zeros(2, 4, 16)}, "2 negative prompts for 1 prompts"),
    ],
)
def test_wrong_embeddings_are_named(teacher, options, message):
    with pytest.raises(ValueError, match=message):
        teacher(**options)


# --- precision --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("build", BUILDERS)
def test_half_precision_runs_and_stays_near(build, dtype):
    """A bfloat16 has 8 bits of mantissa, a float16 has 11; states, times and sounds stay in float32."""
    pipe = build()
    plain, frequencies = sound(pipe), pipe.transformer.time_fourier.radians.clone()
    pipe.to(dtype)
    assert precisions(pipe) == {dtype}
    assert torch.equal(pipe.transformer.time_fourier.radians, frequencies)
    half = sound(pipe)
    assert half.dtype == torch.float32 and half.isfinite().all() and abs(len(half) - len(plain)) <= 2 * 1024
    if build is tiny_pipeline:
        exact, near = latent(build()), latent(pipe)
        assert (near - exact).square().mean() < (
            0.04 if dtype == torch.bfloat16 else 0.005
        ) ** 2 * exact.square().mean()
    pipe.to(torch.float32)
    assert precisions(pipe) == {torch.float32} and sound(pipe).isfinite().all()


def test_a_guided_teacher_runs_in_half_precision(teacher):
    call = {"num_inference_steps": 3, "guidance_scale": 2.0, "negative_prompt": "music"}
    exact, near = latent(teacher, **call), latent(copy.deepcopy(teacher).to(torch.bfloat16), **call)
    assert near.dtype == torch.float32 and (near - exact).square().mean() < 0.1**2 * exact.square().mean()


@pytest.mark.parametrize("keyword", ["torch_dtype", "dtype"])
def test_the_dtype_of_from_pretrained_is_honoured(folder, keyword):
    for dtype in (torch.float32, *HALF):
        assert precisions(TextToAudioPipeline.from_pretrained(folder, **{keyword: dtype})) == {dtype}
        assert LatentTransformer.from_pretrained(folder / "transformer", **{keyword: dtype}).dtype == dtype
    mixed = TextToAudioPipeline.from_pretrained(folder, **{keyword: {"vae": HALF[0], "default": HALF[1]}})
    assert mixed.vae.dtype == HALF[0] and mixed.transformer.dtype == mixed.text_encoder.dtype == HALF[1]


# --- loading and saving -----------------------------------------------------------------------------------------------


def test_given_components_and_settings_take_the_place_of_stored_ones(folder, student):
    other = tiny_transformer(3, token_width=16, pooled_width=16, guidance_range=(0.0, 6.0))
    pipe = TextToAudioPipeline.from_pretrained(folder, transformer=other, guidance_scale=2.0)
    assert pipe.transformer is other and pipe.config.guidance_scale == 2.0
    assert not torch.equal(sound(pipe), sound(student))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"nonsense": 1}, TypeError, "nonsense=1; further options are cache_dir, "),
        ({"device_map": "balanced"}, ValueError, "device_map may only name a device, not 'balanced'"),
        ({"device_map": {"vae": 0}}, ValueError, "device_map may only name a device, not"),
        ({"use_safetensors": False}, TypeError, "use_safetensors=False"),
        ({"variant": "nonsense"}, ValueError, "of the `variant=nonsense`, but .* has none"),
        ({"unet": torch.nn.Identity()}, TypeError, "unet="),
    ],
)
def test_keywords_of_from_pretrained_are_obeyed_or_refused(folder, options, error, message):
    with pytest.raises(error, match=message):
        TextToAudioPipeline.from_pretrained(folder, **options)
    allowed = {"use_safetensors": True, "low_cpu_mem_usage": True, "revision": "main", "device_map": "cpu"}
    assert TextToAudioPipeline.from_pretrained(folder, **allowed).device.type == "cpu"


def test_prompts_are_encoded_without_a_network_and_used_without_an_encoder(folder, student):
    encoder = TextToAudioPipeline.from_pretrained(folder, transformer=None, vae=None, vocoder=None)
    embeds, mask = encoder.encode_prompt("rain")
    networks = TextToAudioPipeline.from_pretrained(folder, text_encoder=None, tokenizer=None)
    assert networks.text_encoder is None and encoder.transformer is None
    assert torch.equal(latent(networks, None, prompt_embeds=embeds, attention_mask=mask), latent(student))


def test_keywords_of_models_are_obeyed_or_refused(folder):
    with pytest.raises(TypeError, match="nonsense=1"):
        LatentTransformer.from_pretrained(folder, subfolder="transformer", nonsense=1)
    with pytest.raises(ValueError, match="is missing"):
        LatentTransformer.from_pretrained(folder, subfolder="transformer", variant="nonsense")


@pytest.mark.parametrize("variant", ["fp16", "bf16", "int8", None])
@pytest.mark.parametrize("build", BUILDERS)
def test_variants_that_are_written_are_read(build, variant, tmp_path):
    pipe = build()
    if variant in ("fp16", "bf16"):
        pipe.to(HALF[variant == "fp16"])
    pipe.save_pretrained(tmp_path, variant=variant)
    for given in {variant, None}:
        again = type(pipe).from_pretrained(tmp_path, variant=given)
        assert precisions(again) == {torch.float32}
        for name in ("transformer", "vae", "vocoder", "text_encoder", "speech_encoder"):
            if name in pipe.components:
                pairs = zip(pipe.components[name].parameters(), again.components[name].parameters(), strict=True)
                assert all(torch.allclose(a.float(), b, atol=0.02 if variant == "int8" else 0) for a, b in pairs)


def test_a_variant_of_some_components_is_taken_where_it_is(folder, student, tmp_path):
    student.save_pretrained(tmp_path)
    quiet = copy.deepcopy(student.transformer)
    torch.nn.init.zeros_(quiet.output.weight)
    quiet.save_pretrained(tmp_path / "transformer", variant="fp16")
    pipe = TextToAudioPipeline.from_pretrained(tmp_path, variant="fp16")
    assert not pipe.transformer.output.weight.any() and pipe.vae.decoder[0].weight.any()


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards_that_are_written_are_read(student, tmp_path, variant):
    for network in (student.transformer, student.vae, student.vocoder):
        place = tmp_path / type(network).__name__
        network.save_pretrained(place, max_shard_size="60KB", variant=variant)
        assert len(list(place.glob("*.safetensors"))) > 1
        again = type(network).from_pretrained(place, variant=variant).state_dict()
        assert all(torch.equal(value, again[name]) for name, value in network.state_dict().items())
    next(place.glob("*-00001-of-*")).unlink()
    with pytest.raises(ValueError, match=r"weight file .*00001-of-.* is missing"):
        type(network).from_pretrained(place)
    next(place.glob("*.json.json"), next(place.glob("*index*"))).write_text("{}")
    with pytest.raises(ValueError, match=r"index.*json is damaged: weight_map is missing"):
        type(network).from_pretrained(place)


@pytest.mark.parametrize("build", BUILDERS)
def test_diffusers_loads_a_saved_folder(build, tmp_path, monkeypatch):
    pipe = build()
    pipe.save_pretrained(tmp_path / "saved")
    monkeypatch.setattr(dynamic_modules_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    again = DiffusionPipeline.from_pretrained(tmp_path / "saved", trust_remote_code=True, dtype=torch.float32)
    assert type(again) is type(pipe) and torch.equal(sound(again), sound(pipe))
    half = DiffusionPipeline.from_pretrained(tmp_path / "saved", trust_remote_code=True, dtype=torch.bfloat16)
    assert precisions(half) == {torch.bfloat16} and sound(half).isfinite().all()
    assert isinstance(AutoModel.from_pretrained(str(tmp_path / "saved"), subfolder="transformer"), LatentTransformer)
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        DiffusionPipeline.from_pretrained(tmp_path / "saved")


def test_the_code_in_a_folder_is_one_import_and_is_not_run(folder, tmp_path):
    assert (folder / "pipeline.py").read_text() == "from audiocm.pipelines import TextToAudioPipeline  # noqa: F401\n"
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == ["pipeline", "TextToAudioPipeline"]
    tiny_pipeline().save_pretrained(tmp_path)
    (tmp_path / "pipeline.py").write_text("raise SystemExit(1)\n")
    assert TextToAudioPipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize("build", BUILDERS)
def test_from_pipe_rebuilding_copies_and_pickles(build):
    pipe = build(guidance_scale=2.0)
    plain, cls = sound(pipe), type(pipe)
    shared = cls.from_pipe(pipe)
    assert all(shared.components[name] is part for name, part in pipe.components.items())
    assert shared.config.guidance_scale == 2.0 and cls.from_pipe(pipe, guidance_scale=1.0).config.guidance_scale == 1.0
    for again in (
        shared,
        cls(**pipe.components, guidance_scale=2.0),
        copy.deepcopy(pipe),
        pickle.loads(pickle.dumps(pipe)),
    ):
        assert torch.equal(sound(again), plain)


# --- offloading -------------------------------------------------------------------------------------------------------


class StandIn(accelerate.hooks.ModelHook):
    """accelerate's CpuOffload with the meta device in the place of a CPU that the accelerator cannot read."""

    def __init__(self, module, before):
        self.module, self.before, self.away = module, before, {}
        self.execution_device = torch.device("cpu")

    def _tensors(self):
        for part in self.module.modules():
            yield from ((part._parameters, name) for name in part._parameters if part._parameters[name] is not None)
            yield from ((part._buffers, name) for name in part._buffers if part._buffers[name] is not None)

    def offload(self):
        if not self.away:
            for table, name in self._tensors():
                self.away[id(table), name] = table[name]
                empty = torch.empty_like(table[name], device="meta")
                table[name] = torch.nn.Parameter(empty) if isinstance(table[name], torch.nn.Parameter) else empty

    def bring_back(self):
        for table, name in self._tensors() if self.away else ():
            table[name] = self.away[id(table), name]
        self.away = {}

    def pre_forward(self, module, *args, **kwargs):
        if self.before is not None:
            self.before.offload()
        self.bring_back()
        return args, kwargs

    def detach_hook(self, module):
        self.bring_back()


@pytest.mark.parametrize("build", BUILDERS)
def test_models_are_offloaded_one_by_one(build, monkeypatch):
    """No part is used before its turn, or after that of the next one has come."""
    pipe, hooks = build(), []
    plain = sound(pipe)

    def cpu_offload_with_hook(module, device, prev_module_hook=None):
        hooks.append(StandIn(module, prev_module_hook))
        accelerate.hooks.add_hook_to_module(module, hooks[-1])
        hooks[-1].offload()
        return module, hooks[-1]

    monkeypatch.setattr(accelerate, "cpu_offload_with_hook", cpu_offload_with_hook)
    pipe.enable_model_cpu_offload(device="cpu")
    assert precisions(pipe) == {torch.float32} and all(hook.away for hook in hooks) and len(hooks) == 4
    assert torch.equal(sound(pipe), plain)
    assert len(hooks) == 8 and all(hook.away for hook in hooks[4:])  # all away again at the end of the call
    assert torch.equal(sound(pipe), plain)


@pytest.mark.parametrize("build", BUILDERS)
def test_layers_are_offloaded_one_by_one(build):
    """What enable_sequential_cpu_offload does; its own CPU device has an index, which accelerate mistakes for a GPU."""
    pipe = build()
    plain = sound(pipe)
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module) and name not in pipe._exclude_from_cpu_offload:
            accelerate.cpu_offload(part, torch.device("cpu"), offload_buffers=len(part._parameters) > 0)
    assert next(pipe.transformer.blocks[0].parameters()).device.type == "meta"
    assert torch.equal(sound(pipe), plain) and torch.equal(sound(pipe), plain)


@pytest.mark.parametrize("kind", ["leaf_level", "block_level"])
def test_groups_are_offloaded(kind):
    pipe = tiny_pipeline()
    plain = sound(pipe)
    blocks = {"num_blocks_per_group": 1} if kind == "block_level" else {}
    pipe.enable_group_offload(torch.device("cpu"), offload_type=kind, **blocks)
    assert torch.equal(sound(pipe), plain)

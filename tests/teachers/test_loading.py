"""Where teachers come from: folders, components, bundled models, adapters of one's own; and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import diffusers
import pytest
import torch
from tiny_teachers import PROMPTS, build, make_case

from audiocm.diffusion.denoiser import Condition
from audiocm.teachers import adapter, load_teacher, save_student

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of a pipeline, and one of TANGO's components, to be copied."""
    root = tmp_path_factory.mktemp("folders")
    build("audioldm").save_pretrained(root / "audioldm")
    for name, component in build("tango").items():
        component.save_pretrained(root / "tango" / name)
    return root


@pytest.fixture
def folder(folders, tmp_path):
    shutil.copytree(folders / "audioldm", tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.fixture
def parts_folder(folders, tmp_path):
    shutil.copytree(folders / "tango", tmp_path / "teacher")
    return tmp_path / "teacher"


def refused(source, words):
    with pytest.raises(ValueError, match=words) as error:
        load_teacher(source)
    assert "\n" not in str(error.value)


@torch.no_grad()
@pytest.mark.parametrize("name", ["audioldm", "tango"])
def test_a_folder_is_the_teacher_that_was_saved(name, folders):
    case, again = make_case(name), load_teacher(folders / name)
    assert again.name == str(folders / name) and type(again.adapter) is type(case.teacher.adapter)
    x, t = case.noise(), case.time(0.6)
    expected = case.teacher.net(x, t, None, case.cond)
    torch.testing.assert_close(again.net(x, t, None, again.condition(PROMPTS, 0.64)), expected, atol=1e-6, rtol=1e-6)
    assert not any(p.requires_grad for p in again.net.parameters())


def test_components_of_a_pipeline_are_recognised_by_their_classes():
    assert type(load_teacher(build("audioldm").components).adapter).__name__ == "AudioLDM"
    assert type(load_teacher(build("tango")).adapter).__name__ == "Tango"


def test_a_folder_without_a_teacher(tmp_path):
    refused(tmp_path, "neither model_index.json nor folders of components")
    refused("nothing-of-this-name", "unknown model 'nothing-of-this-name'")
    refused(3, "a teacher is a name, a folder, a pipeline or a dict of components, not a int")


def test_an_unknown_pipeline_lists_the_known_ones_and_the_guide(folder):
    file = folder / "model_index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"_class_name": "FluxPipeline"}))
    refused(folder, "no adapter for FluxPipeline: known are AudioLDM2Pipeline, AudioLDMPipeline.*README.md")


def test_code_of_a_folder_is_not_run(folder):
    file = folder / "model_index.json"
    index = json.loads(file.read_text())
    (folder / "unet" / "evil.py").write_text("raise SystemExit('this ran')")
    file.write_text(json.dumps(index | {"unet": ["evil", "UNet"]}))
    refused(folder, "component unet is a UNet of 'evil'")
    file.write_text(json.dumps(index | {"_class_name": ["evil", "Pipeline"]}))
    refused(folder, "component _class_name is a Pipeline of 'evil'")


def test_a_missing_component(folder):
    shutil.rmtree(folder / "vocoder")
    refused(folder, "component vocoder is missing")


def test_a_component_that_the_index_lacks(folder):
    file = folder / "model_index.json"
    index = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in index.items() if key != "vocoder"}))
    refused(folder, "vocoder is missing")


def test_a_missing_part_without_a_pipeline(parts_folder):
    shutil.rmtree(parts_folder / "vocoder")
    refused(parts_folder, "fit no adapter; for Tango, vocoder is missing; audiocm/teachers/README.md")


def test_a_component_of_another_class(folder):
    file = folder / "model_index.json"
    index = json.loads(file.read_text())
    file.write_text(json.dumps(index | {"text_encoder": ["transformers", "VitsModel"]}))
    refused(folder, "text_encoder must be a ClapTextModelWithProjection, not a VitsModel")


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "model.ckpt"])
def test_pickled_weights_are_refused(folder, name):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / name)
    refused(folder, f"{name} are pickled, which can run code.*safe_serialization=True")


def test_damaged_files(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"damaged")
    refused(folder, "could not be read")
    (folder / "model_index.json").write_text("{")
    refused(folder, "model_index.json is damaged")


def test_a_scheduler_that_contradicts_itself(folder):
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rescale_betas_zero_snr": True}))
    refused(folder, "zero terminal SNR")


def test_a_network_that_also_predicts_a_variance():
    parts = build("tango")
    config = {key: value for key, value in parts["unet"].config.items() if key[0] != "_"}
    parts["unet"] = diffusers.UNet2DConditionModel(**(config | {"out_channels": 8}))
    refused(parts, "takes 4 channels and gives 8")


def test_importing_audiocm_imports_neither_diffusers_nor_peft():
    code = "import sys, audiocm; audiocm.load_teacher; sys.exit(bool({'diffusers', 'peft'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_of_a_hub_id_neither_pickles_nor_code_are_fetched(folder, monkeypatch):
    import fnmatch

    import huggingface_hub

    asked = {}
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **hub: (asked.update(hub, name=name), folder)[1]
    )
    teacher = load_teacher("owner/name", revision="main")
    assert teacher.name == asked["name"] == "owner/name" and asked["revision"] == "main"

    def wanted(name):
        return any(fnmatch.fnmatch(name, pattern) for pattern in asked["allow_patterns"])

    assert all(wanted(name) for name in ("model_index.json", "unet/config.json", "vae/model.safetensors"))
    assert not any(wanted(name) for name in ("unet/pytorch_model.bin", "pipeline.py", "model.ckpt", "x.pt", "x.pkl"))


# --- adapters of one's own: README.md has the worked example ----------------------------------------------------------


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(adapter, "_ADAPTERS", dict(adapter._ADAPTERS))


def test_an_adapter_is_found_by_the_name_of_its_pipeline(registry):
    class Mine(type(make_case("tango").teacher.adapter)):
        """TANGO's, of a pipeline class of one's own."""

    class MyPipeline(SimpleNamespace):
        @property
        def components(self):
            return vars(self)

    adapter.register_adapter("MyPipeline")(Mine)
    teacher = load_teacher(MyPipeline(**build("tango")))
    assert isinstance(teacher.adapter, Mine) and teacher.name == "MyPipeline"


def test_what_an_adapter_must_name(registry):
    with pytest.raises(ValueError, match="class name of a pipeline"):
        adapter.register_adapter()(adapter.Adapter)
    with pytest.raises(ValueError, match="must name its components"):
        adapter.register_adapter("X")(adapter.Adapter)


def test_the_names_in_adapters_are_those_of_the_networks(case):
    """The first linear layer of the time embedding, and blocks that can be compiled."""
    net, names = case.teacher.net, type(case.teacher.adapter)
    assert isinstance(net.net.get_submodule(names.time_layer), torch.nn.Linear)
    assert set(names.blocks) <= {type(module).__name__ for module in net.modules()}
    assert net._repeated_blocks == list(names.blocks)


def test_a_wrong_name_of_the_time_embedding(registry):
    class Wrong(type(make_case("tango").teacher.adapter)):
        """TANGO's with a layer that is not there."""

        time_layer = "time_embedding.first"

    teacher = adapter_teacher(Wrong)
    with pytest.raises(ValueError, match=r"time_layer 'time_embedding.first' is no linear layer of UNet2D"):
        teacher.student((1.0, 5.0))


def adapter_teacher(cls):
    """A teacher of TANGO's components by an adapter."""
    from audiocm.teachers import Teacher

    return Teacher(cls(SimpleNamespace(**build("tango"))), "components")


def test_adapters_stay_short():
    """At most 40 lines each, as the guide promises, the one in the guide included."""
    import ast
    from pathlib import Path

    folder = Path(adapter.__file__).parent
    sources = [file.read_text() for file in folder.glob("*.py") if file.name != "adapter.py"]
    sources += [block.split("\n```")[0] for block in (folder / "README.md").read_text().split("```python\n")[1:]]
    classes = [node for source in sources for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    adapters = [one for one in classes if any("Adapter" in getattr(base, "id", "") for base in one.bases)]
    assert len(adapters) >= 8 and max(one.end_lineno - one.lineno + 1 for one in adapters) <= 40


# --- bundled teachers ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundled():
    return load_teacher("tta-teacher")


@torch.no_grad()
def test_a_bundled_teacher(bundled):
    from audiocm import TextToAudioPipeline

    assert bundled.name == "tta-teacher" and bundled.sample_rate == 24000 and bundled.channels == 1
    cond, shape = bundled.condition(["a dog barks"], 1.0), bundled.latent_shape(1.0)
    pipe = TextToAudioPipeline.from_pretrained("tta-teacher")
    noise = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    from audiocm.diffusion import solvers
    from audiocm.diffusion.guidance import guided_net

    expected = pipe("a dog barks", 1.0, 3, 2.0, latents=noise, output_type="latent").audios
    times = solvers.ode_times(bundled.path, 3)
    got = solvers.sample(guided_net(bundled.net, 2.0), bundled.path, noise, cond, times, solvers.heun)
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-3)
    wav = bundled.decode(bundled.encode(0.1 * torch.randn(1, 24000)))
    assert wav.shape[0] == 1 and wav.shape[1] >= 24000


@torch.no_grad()
@pytest.mark.parametrize("inputs", [((1.0, 5.0), None), ((1.0, 5.0), 8), (None, 8)], ids=["w", "w,lora", "lora"])
def test_a_student_of_a_bundled_teacher(bundled, inputs, tmp_path):
    from audiocm import TextToAudioPipeline

    guidance_range, lora = inputs
    student = bundled.student(guidance_range, lora=lora)
    x, t = torch.randn(1, *bundled.latent_shape(1.0)), torch.full((1,), bundled.path.t_max)
    cond = bundled.condition(["a dog"], 1.0)
    w = cond.with_guidance(3.0)
    assert torch.equal(student(x, t, None, w if guidance_range else cond), bundled.net(x, t, None, cond))
    for name, weight in student.named_parameters():
        if weight.requires_grad and (".lora_B." in name or name == "guidance.weight"):
            torch.nn.init.normal_(weight, std=0.02)
    assert all(
        p.requires_grad == (lora is None or ".lora_" in n or n == "guidance.weight")
        for n, p in student.named_parameters()
    )
    with pytest.raises(ValueError, match="w must be between"):
        save_student(bundled, student, tmp_path / "student")
    save_student(bundled, student, tmp_path / "student", 3.0)
    pipe = TextToAudioPipeline.from_pretrained(tmp_path / "student")
    assert pipe.is_student and pipe.config.guidance_scale == 3.0 and (tmp_path / "student" / "README.md").is_file()
    expected = student(t[:, None, None] * x, t, None, w if guidance_range else cond)
    got = pipe("a dog", 1.0, latents=x, output_type="latent").audios
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-3)
    file = tmp_path / "student" / "pytorch_lora_weights.safetensors"
    assert file.is_file() == (guidance_range is None)
    if file.is_file():  # as `audiocm generate --lora` adds it to the teacher
        from audiocm.teachers import load_lora

        teacher = TextToAudioPipeline.from_pretrained("tta-teacher")
        load_lora(teacher.transformer, file, merge=True)
        torch.testing.assert_close(teacher("a dog", 1.0, 1, 1.0, latents=x, output_type="latent").audios, got)
        assert "--steps 1 --guidance 1" in (tmp_path / "student" / "README.md").read_text()


def test_a_condition_has_a_row_a_prompt(bundled):
    cond = bundled.condition(["a dog", "a cat"], 2.0)
    assert isinstance(cond, Condition) and cond.batch_size == 2 and cond.mask.shape[1] == bundled.latent_shape(2.0)[1]


def test_sounds_of_stable_audio_are_no_longer_than_its_window():
    teacher = make_case("stable-audio").teacher
    assert teacher.adapter.seconds == 0.96 and teacher.latent_shape(0.96) == teacher.latent_shape(0.1)
    with pytest.raises(ValueError, match=r"seconds must be at most 0\.96, the window of this teacher, not 10"):
        teacher.latent_shape(10.0)


def test_a_teacher_without_a_name_is_refused():
    with pytest.raises(ValueError, match="the teacher must be the name"):
        load_teacher("")

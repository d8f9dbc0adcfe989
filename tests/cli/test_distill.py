"""`audiocm distill` on a tiny teacher of AudioLDM's form: the whole chain, resuming, memory, and what it refuses."""

import json
import re
import shutil
import warnings

import pytest
import torch

from audiocm.cli import distill_methods, distill_training
from audiocm.cli.main import main
from audiocm.data.encoded_batches import EncodedBatches
from audiocm.distillation import METHODS
from audiocm.model_cards import replace_score_blocks, score_blocks
from audiocm.teachers import Teacher
from audiocm.training import memory
from recipes.teachers import tiny

SHORT = ["--seconds", "0.64", "--batch", "2"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with the teacher `t`, its sounds `t/sounds`, and the cache `c` of all tests."""
    root = tmp_path_factory.mktemp("distill")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiny.build_pipeline().save_pretrained(root / "t")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "SECONDS", 0.64)
        tiny.write_sounds(root / "t" / "sounds")
    return root


@pytest.fixture
def call(root, monkeypatch):
    """Calls the command in `root`, with a shared cache; `words` replace the usual ones of the same option."""
    monkeypatch.chdir(root)

    def call(*words, teacher="t", data="t/sounds"):
        return main(["distill", teacher, "--data", data, "--cache", "c", *SHORT, *map(str, words)])

    return call


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model" / "unet" / "diffusion_pytorch_model.safetensors")


def one_line(capsys):
    lines = capsys.readouterr().err.strip().splitlines()
    last = [line for line in lines if line.startswith("audiocm")]
    assert len(last) == 1 and "Traceback" not in "".join(lines)
    return last[0]


def test_a_student_is_trained_and_plain_diffusers_calls_it(call, root, capsys):
    import diffusers

    assert call("-o", "first", "--steps", 4, "--lr", "1e-3", "--save-w", 2) == 0
    out = capsys.readouterr().out
    assert "t/sounds: 8 sounds" in out and "memory: about" in out and "first/model: consistencytta, 4 steps" in out
    assert "guidance weight 2 inside" in out and "model/README.md" in out
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = diffusers.DiffusionPipeline.from_pretrained(root / "first" / "model")
    pipe.set_progress_bar_config(disable=True)
    wav = pipe("a tone", audio_length_in_s=0.64, num_inference_steps=1, guidance_scale=1.0).audios[0]
    assert len(wav) == 10240 and abs(wav).max() > 0
    card = (root / "first" / "model" / "README.md").read_text()
    for fact in ("teacher | `t`", "w = 2", "method | consistencytta", "4 steps of 2 sounds", "1 to 7", "seed | 0"):
        assert fact in card
    before = weights_of_teacher(root)
    after = weights(root / "first")
    assert after.keys() == before.keys() and any(not torch.equal(after[name], before[name]) for name in after)


def weights_of_teacher(root):
    from safetensors.torch import load_file

    return load_file(root / "t" / "unet" / "diffusion_pytorch_model.safetensors")


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(call, root, monkeypatch, capsys):
    options = ["--steps", 5, "--lr", "1e-3", "--save-every", 2]
    assert call("-o", "whole", *options) == 0
    given, original = [], EncodedBatches.__next__

    def stopping(self):
        given.append(self.position)
        if len(given) == 4:
            raise KeyboardInterrupt
        return original(self)

    monkeypatch.setattr(EncodedBatches, "__next__", stopping)
    assert call("-o", "parts", *options) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert not (root / "parts" / "model").exists() and not list((root / "parts").rglob("*.partial"))
    monkeypatch.undo()
    monkeypatch.chdir(root)
    assert call("-o", "parts", *options) == 0
    one, other = weights(root / "whole"), weights(root / "parts")
    assert all(torch.equal(one[name], other[name]) for name in one)
    card = root / "parts" / "model" / "README.md"
    card.write_text(scored := replace_score_blocks(card.read_text(), [("12ab", "| FD | 1.04 |")]))
    assert call("-o", "parts", *options) == 0 and card.read_text() == scored
    assert call("-o", "parts", *options, "--save-w", 1) == 0  # finished: only another weight is saved
    assert "5 steps" in capsys.readouterr().out and score_blocks(card.read_text()) == []
    again = weights(root / "parts")
    assert [name for name in again if not torch.equal(again[name], other[name])] == ["time_embedding.linear_1.bias"]


def test_an_interrupted_encoding_goes_on(call, root, monkeypatch, capsys):
    from audiocm.data import encoded

    monkeypatch.setattr(encoded, "SHARD_RECORDINGS", 3)
    sounds, original = [], Teacher.encode

    def counting(self, wav):
        sounds.append(int((wav.abs().amax(1) > 0).sum()))  # silence measures shapes only
        if sum(sounds) > 4 and len(sounds) < 100:
            raise KeyboardInterrupt
        return original(self, wav)

    monkeypatch.setattr(Teacher, "encode", counting)
    assert call("-o", "stopped", "--steps", 1, "--cache", "other") == 130
    assert (
        not list((root / "other").rglob("*.partial"))
        and len(list((root / "other").rglob("latents/*.safetensors"))) == 1
    )
    sounds[:] = [0] * 100
    assert call("-o", "stopped", "--steps", 1, "--cache", "other") == 0
    assert sum(sounds) == 5 and weights(root / "stopped")


def test_a_low_rank_difference_of_one_weight_has_its_own_file(call, root, capsys):
    assert call("-o", "lora", "--steps", 2, "--method", "lcm-lora", "--lora", 2, "--w-range", 3) == 0
    assert "no LoRA file" not in capsys.readouterr().out
    assert (root / "lora" / "model" / "pytorch_lora_weights.safetensors").stat().st_size > 1000
    assert "guidance weight of the teacher | 3 |" in (root / "lora" / "model" / "README.md").read_text()
    assert call("-o", "told", "--steps", 1, "--lora", 2) == 0
    assert "no LoRA file" in capsys.readouterr().out


def test_bad_sounds_are_named_and_left_out(call, root, tmp_path, capsys):
    shutil.copytree(root / "t" / "sounds", tmp_path / "sounds")
    (tmp_path / "sounds" / "0.wav").write_bytes(b"RIFF")
    (tmp_path / "sounds" / "1.txt").unlink()
    assert call("-o", "bad", "--steps", 1, data=str(tmp_path / "sounds")) == 0
    printed = capsys.readouterr()
    assert "warning: 2 of 8 clips left out: 1.wav has no caption; 0.wav cannot be read" in printed.err
    assert "6 sounds" in printed.out


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--method", "magic"], "unknown method 'magic': must be one of guidance-distillation, cd, "),
        (["--method", "regression"], "unknown method 'regression'"),
        (["--method", "scd"], "no derivative in t"),
        (["--batch", 0], "--batch must be a whole number of at least 1 and at most 100,000, not 0"),
        (["--minutes", 0], "--minutes must be a number above 0 and at most 1,000,000, not 0"),
        (["--w-range", 5, 2], "--w-range must be one or two numbers"),
        (["--w-range", 5], "learns a range of weights"),
        (["--save-w", 9], "--save-w must be between 1 and 7"),
        (["--save-w", 2, "--method", "cd"], "a student of cd takes no guidance weight"),
        (["--lora", 2, "--shard"], "--shard is for full weights"),
        (["--compile", "--shard"], "--shard does not go with --compile"),
        (["--method", "dmd2", "--shard"], "--shard does not go with --method dmd2"),
        (["--device", "tpu"], "device 'tpu' cannot be used here"),
        (["--push-to-hub", "me"], "--push-to-hub must be OWNER/NAME"),
        (["-o", "t"], "output t is not empty (model_index.json) and holds no run of distill"),
        (["-o", "t/model_index.json"], "is a file: give a folder"),
        (["--seconds", "-1"], "--seconds must be a number above 0 and at most 10,000, not -1"),
        (["--seconds", "0.001"], "--seconds 0.001 does not suit this teacher"),
        (["--seconds", "0.02"], "sounds of 0.02 s cannot be encoded"),
        (["--seed", -1], "--seed must be a whole number of at least 0"),
        (["--cache", ""], "--cache must be a text that is not empty"),
        (["--cache", "t/model_index.json"], "cannot write t/model_index.json: "),
        (["-o", "t/model_index.json/x"], "cannot write t/model_index.json/x: "),
        (["-o", "a\udcff"], "--output must be text in UTF-8"),
        (["--lora", 1000], "the rank must be at most 31, beyond which no layer has more numbers"),
    ],
)
def test_wrong_options_are_one_line_and_leave_nothing(call, root, capsys, words, expected):
    assert call("-o", "none", "--steps", 1, *words) == 2
    assert expected in one_line(capsys)
    assert not (root / "none").exists()


def broken(root, tmp_path, change):
    """A copy of the teacher with a change."""
    shutil.copytree(root / "t", tmp_path / "broken")
    change(tmp_path / "broken")
    return str(tmp_path / "broken")


def rename_pipeline(folder):
    text = (folder / "model_index.json").read_text().replace("AudioLDMPipeline", "FluxPipeline")
    (folder / "model_index.json").write_text(text)


def change_json(file, **values):
    changed = json.loads(file.read_text()) | values
    file.write_text(json.dumps({name: value for name, value in changed.items() if value is not None}))


def spoil_weight(folder):
    from safetensors.torch import load_file, save_file

    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    state["conv_in.bias"][0] = torch.nan
    save_file(state, file, {"format": "pt"})


def pickle_unet(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "diffusion_pytorch_model.bin")


@pytest.mark.parametrize(
    "change, expected",
    [
        (rename_pipeline, "no adapter for FluxPipeline: known are "),
        (lambda folder: (folder / "model_index.json").unlink() or shutil.rmtree(folder / "unet"), "unet is missing"),
        (lambda folder: shutil.rmtree(folder / "vae"), "vae is missing"),
        (pickle_unet, "are pickled"),
        (spoil_weight, "component unet: its weight conv_in.bias is not finite"),
        (lambda folder: change_json(folder / "model_index.json", _class_name=None), "does not name the class"),
        (lambda folder: change_json(folder / "unet" / "config.json", norm_num_groups=5), "component unet could not be"),
        (
            lambda folder: change_json(folder / "vocoder" / "config.json", model_in_dim=20),
            "component vocoder could not be read: its weights and its config.json do not fit each other",
        ),
        (lambda folder: change_json(folder / "vae" / "config.json", scaling_factor=0), "has a latent of zeros"),
        (
            lambda folder: change_json(folder / "scheduler" / "scheduler_config.json", clip_sample=True),
            "clips the clean sample",
        ),
        (
            lambda folder: [shutil.rmtree(one) if one.is_dir() else one.unlink() for one in folder.iterdir()],
            "no teacher in",
        ),
    ],
)
def test_teachers_that_cannot_be_read_are_one_line(call, root, tmp_path, capsys, change, expected):
    assert call("-o", "none", "--steps", 1, teacher=broken(root, tmp_path, change)) == 2
    assert expected in one_line(capsys) and not (root / "none").exists()


def test_data_that_cannot_be_used_is_one_line(call, root, tmp_path, capsys):
    shutil.copytree(root / "t" / "sounds", tmp_path / "sounds")
    for text in (tmp_path / "sounds").glob("*.txt"):
        text.unlink()
    assert call("-o", "none", data=str(tmp_path / "sounds")) == 2
    assert "none of 8 sounds has a caption: put NAME.txt" in one_line(capsys)
    assert call("-o", "none", data=str(tmp_path / "nowhere")) == 2
    assert "no such file or folder" in one_line(capsys) and not (root / "none").exists()


def test_names_with_spaces_and_letters_of_any_script_are_kept(call, root, tmp_path):
    """Also a folder of sounds whose name is no UTF-8, which the card writes with an escape."""
    import os

    shutil.copytree(root / "t", tmp_path / "my téacher 音")
    sounds = tmp_path / os.fsdecode(b"sounds \xff")
    shutil.copytree(root / "t" / "sounds", sounds)
    output = tmp_path / "öut put 音"
    options = ["-o", str(output), "--steps", 1, "--cache", str(output)]
    assert call(*options, teacher=str(tmp_path / "my téacher 音"), data=str(sounds)) == 0
    assert weights(output) and "sounds \\udcff" in (output / "model" / "README.md").read_text()
    assert call(*options, teacher=str(tmp_path / "my téacher 音"), data=str(sounds)) == 0


def test_another_vocabulary_or_scale_is_encoded_anew(call, root, tmp_path):
    """The cache is found by all that makes latents and conditions, not by weights alone."""
    shutil.copytree(root / "t", tmp_path / "other")
    for i, change in enumerate([{}, {"scaling_factor": 0.5}, {"scaling_factor": 0.5}]):
        change_json(tmp_path / "other" / "vae" / "config.json", **change)
        options = ["-o", str(tmp_path / f"run{i}"), "--steps", 1, "--cache", str(tmp_path / "cache")]
        assert call(*options, teacher=str(tmp_path / "other")) == 0
        assert len(list((tmp_path / "cache").iterdir())) == (1 if i == 0 else 2)


def test_another_run_in_the_folder_is_kept_unless_forced(call, root, capsys):
    assert call("-o", "kept", "--steps", 1) == 0
    capsys.readouterr()
    assert call("-o", "kept", "--steps", 1, "--method", "lcm", "--lr", "2e-4") == 2
    line = one_line(capsys)
    assert "holds a run with --method consistencytta, not lcm; --lr 1e-05, not 0.0002" in line and "--force" in line
    (root / "kept" / "notes.txt").write_text("mine")
    assert call("-o", "kept", "--steps", 2, "--method", "lcm", "--force") == 0
    assert json.loads((root / "kept" / "distill.json").read_text())["method"] == "lcm"
    assert "kept/model: lcm, 2 steps" in capsys.readouterr().out and (root / "kept" / "notes.txt").read_text() == "mine"


def test_too_little_memory_says_what_fits(call, root, monkeypatch, capsys):
    monkeypatch.setattr(memory, "available_bytes", lambda device: 2e7)
    monkeypatch.setattr(distill_training, "LORA_RANK", 2)
    assert call("-o", "none", "--steps", 1, "--batch", 4000) == 2
    line = one_line(capsys)
    pattern = (
        r"training needs about .* GiB at batch 4000, but \S+ MiB are free on cpu; what fits: --batch (\d+); "
        r"--gradient-checkpointing --batch (\d+); --lora 2 --batch (\d+)"
    )
    found = re.search(pattern, line)
    assert found, line
    plain, checkpointed, _ = map(int, found.groups())
    assert 1 <= plain < checkpointed < 4000
    assert call("-o", "none", "--steps", 1, "--batch", plain + 1) == 2
    monkeypatch.setattr(distill_training, "LORA_RANK", 64)  # more than the layers of this network have
    monkeypatch.setattr(memory, "available_bytes", lambda device: -1e9)
    capsys.readouterr()
    assert call("-o", "none", "--steps", 1) == 2
    assert "nothing fits, not even a batch of 1" in one_line(capsys)
    assert not (root / "none").exists()
    monkeypatch.setattr(memory, "available_bytes", lambda device: 2e7)
    assert call("-o", "fits", "--steps", 1, "--batch", plain) == 0


def test_nothing_is_uploaded_unless_asked_for(call, root, monkeypatch, capsys):
    import huggingface_hub

    calls = []

    class Hub:
        def create_repo(self, name, exist_ok):
            calls.append(("create", name))

        def upload_folder(self, repo_id, folder_path):
            calls.append((repo_id, folder_path))

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert call("-o", "pushed", "--steps", 1) == 0 and calls == []
    assert call("-o", "pushed", "--steps", 1, "--push-to-hub", "me/mine") == 0
    assert calls == [("create", "me/mine"), ("me/mine", "pushed/model")]
    monkeypatch.setattr(Hub, "create_repo", lambda *_, **__: 1 / 0)
    capsys.readouterr()
    assert call("-o", "pushed", "--steps", 1, "--push-to-hub", "me/mine") == 2
    assert "pushed/model is complete, but could not be uploaded to me/mine (division by zero)" in one_line(capsys)


def test_help_has_examples_and_lists_are_of_known_methods(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["distill", "--help"])
    out = capsys.readouterr().out
    assert ended.value.code == 0 and out.count("audiocm distill ") >= 4 and "webdataset" in out
    lists = (
        distill_methods.OTHERS,
        distill_methods.WITH_CRITIC,
        distill_methods.WITHOUT_TARGET,
        distill_methods.WITHOUT_GRAPH,
        distill_methods.OF_DATA,
        distill_methods.OF_ONE_WEIGHT,
    )
    assert {name for names in lists for name in names} <= set(METHODS)


@pytest.mark.parametrize("method", ["tcd", "dmd2", "cd"])
def test_methods_of_other_kinds_run(call, root, method):
    """With s as an input, with a critic, and of one weight."""
    assert call("-o", method, "--steps", 1, "--method", method, "--accumulate", 2, "--gradient-checkpointing") == 0
    assert weights(root / method)

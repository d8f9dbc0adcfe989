"""`audiocm generate` as a user meets it: files, folders, manifest, seeds, and one line for each bad input."""

import gc
import json
import os
import subprocess
import sys
import textwrap

import numpy
import pytest
import soundfile
from tiny_model import tiny_pipeline

from audiocm.audio.io import write_sound
from audiocm.cli.main import main
from audiocm.cli.output import read_prompts
from audiocm.models import weights
from audiocm.pipelines import loading
from audiocm.training import recipe


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two bundled models of random nets: tta (a student) and tta-teacher."""
    folder, student = tmp_path_factory.mktemp("pretrained"), tiny_pipeline(student=True)
    student.vae.save_pretrained(folder / "codec" / "vae", variant="int8")
    student.vocoder.save_pretrained(folder / "codec" / "vocoder", variant="int8")
    student.conditioner.save_int8(folder / "text-encoder")
    loading.save_bundle(folder / "tta", student.transformer)
    loading.save_bundle(folder / "tta-teacher", tiny_pipeline(student=False).transformer, num_inference_steps=3)
    return folder


@pytest.fixture(autouse=True)
def place(models, tmp_path, monkeypatch):
    """The tiny models take the place of the bundled ones, and files land in a fresh folder."""
    monkeypatch.setattr(loading, "PRETRAINED", models)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def generate(*arguments: str) -> int:
    try:
        return main(["generate", *arguments])
    except SystemExit as stopped:
        return stopped.code


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "WAV"])
def test_one_prompt_one_file(place, extension):
    assert generate("a dog barks", "-o", f"deep/dog.{extension}", "--seconds", "1") == 0
    wav, rate = soundfile.read(place / "deep" / f"dog.{extension}")
    assert rate == 24_000 and wav.shape == (24_000,) and numpy.abs(wav).max() > 0.01
    assert soundfile.info(f"deep/dog.{extension}").format == extension.upper()
    assert os.listdir("deep") == [f"dog.{extension}"]


def test_a_folder_gets_numbered_files_and_a_manifest(place, capsys):
    (place / "more.txt").write_text("\ufeffrain on a tin roof\n\n wind \n", encoding="utf-8")
    assert (
        generate("a dog barks", "--prompts", "more.txt", "-o", "out", "--num", "2", "--seconds", "0.5", "--seed", "7")
        == 0
    )
    names = [f"{prompt:03d}_{take}.wav" for prompt in range(3) for take in range(2)]
    assert sorted(os.listdir("out")) == [*names, "manifest.jsonl"]
    rows = [json.loads(line) for line in (place / "out" / "manifest.jsonl").read_text().splitlines()]
    assert [row["file"] for row in rows] == names
    assert rows[3] == {"file": "001_1.wav", "prompt": "rain on a tin roof", "seed": 8, "steps": 1, "guidance": 3.0,
                       "temperature": rows[0]["temperature"], "model": "tta"}  # fmt: skip
    assert 0 < rows[0]["temperature"] <= 1
    shown = capsys.readouterr()
    assert "6/6" in shown.err and "6 sounds" in shown.out


def test_a_seed_of_the_manifest_makes_the_same_sound_alone(place):
    generate("rain", "a dog barks", "-o", "out", "--num", "3", "--seconds", "1", "--seed", "4")
    generate("a dog barks", "-o", "again.wav", "--seconds", "1", "--seed", "6")
    among, alone = soundfile.read("out/001_2.wav")[0], soundfile.read("again.wav")[0]
    other = soundfile.read("out/001_1.wav")[0]
    assert numpy.abs(among - alone).max() <= 2 / 32768 and numpy.abs(other - alone).max() > 0.01


def test_knobs_reach_the_model(place):
    for name, more in {
        "a": [],
        "w": ["--guidance", "0"],
        "s": ["--steps", "3"],
        "t": ["--model", "tta-teacher"],
        "h": ["--temperature", "0.5"],
    }.items():
        assert generate("rain", "-o", f"{name}.wav", "--seconds", "1", *more) == 0
    sounds = [soundfile.read(f"{name}.wav")[0] for name in "awsth"]
    assert all(numpy.abs(sounds[0] - sound).max() > 1e-3 for sound in sounds[1:])


BAD = {
    "empty prompt": (["", "-o", "x.wav"], "the prompt is empty"),
    "blank prompt": (["  ", "-o", "x.wav"], "the prompt is empty"),
    "no prompt": (["-o", "x.wav"], "the prompt is empty"),
    "no output": (["rain"], "-o/--output"),
    "seconds": (
        ["rain", "-o", "x.wav", "--seconds", "60"],
        "60 seconds is outside what the model was trained on: 0.5 to 10",
    ),
    "seconds nan": (["rain", "-o", "x.wav", "--seconds", "nan"], "nan seconds is outside"),
    "seconds word": (["rain", "-o", "x.wav", "--seconds", "long"], "invalid float value: 'long'"),
    "steps": (["rain", "-o", "x.wav", "--steps", "0"], "steps must be a whole number of at least 1, not 0"),
    "guidance": (["rain", "-o", "x.wav", "--guidance", "9"], "guidance 9 is outside what the model allows: 0 to 6"),
    "temperature": (
        ["rain", "-o", "x.wav", "--temperature", "0"],
        "temperature must be over 0 and at most 2, not 0",
    ),
    "num": (["rain", "-o", "x", "--num", "0"], "--num must be at least 1, not 0"),
    "seed": (["rain", "-o", "x.wav", "--seed", "-1"], "--seed must lie between 0 and 2^63, not -1"),
    "model": (["rain", "-o", "x.wav", "--model", "tts"], "unknown model 'tts': bundled are tta, tta-teacher"),
    "model folder": (["rain", "-o", "x.wav", "--model", "./none"], "no model folder './none'"),
    "device": (
        ["rain", "-o", "x.wav", "--device", "toaster"],
        "device 'toaster' cannot be used here: choose auto, cpu",
    ),
    "extension": (
        ["rain", "-o", "x.mp3"],
        "cannot write x.mp3: the extension must be .wav, .flac, .ogg, or give a folder",
    ),
    "many in one": (["rain", "wind", "-o", "x.wav"], "x.wav is one file, but 2 sounds were asked for: give a folder"),
    "file as folder": (["rain", "-o", "file.txt/x.wav"], "cannot write file.txt/x.wav: "),
    "file in place": (["rain", "-o", "plain"], "cannot write to the folder plain: a file is in its place"),
    "unwritable": (["rain", "-o", "/proc/x.wav"], "cannot write /proc/x.wav: "),
    "prompts missing": (["--prompts", "no.txt", "-o", "x"], "cannot read the prompt file no.txt: No such file"),
    "prompts binary": (["--prompts", "bytes", "-o", "x"], "cannot read the prompt file bytes: it is not UTF-8 text"),
    "prompts empty": (["--prompts", "plain", "-o", "x"], "the prompt file plain holds no prompt"),
    "prompts folder": (["--prompts", ".", "-o", "x"], "cannot read the prompt file .: Is a directory"),
    "unknown option": (["rain", "-o", "x.wav", "--loud"], "unrecognized arguments: --loud"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_exit_2_and_no_file(place, capsys, arguments, message):
    (place / "file.txt").write_text("x")
    (place / "plain").write_text("")
    (place / "bytes").write_bytes(b"\xff\xfe\x00\x80")
    assert generate(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("audiocm") and message in lines[0]
    assert sorted(os.listdir(place)) == ["bytes", "file.txt", "plain"]


def test_a_damaged_weight_file_is_named(models, place, capsys):
    file = models / "tta-teacher" / "diffusion_pytorch_model.int8.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    assert generate("rain", "-o", "x.wav", "--model", "tta-teacher") == 2
    file.write_bytes(whole)
    assert "diffusion_pytorch_model.int8.safetensors is damaged" in capsys.readouterr().err
    assert not os.listdir(place)


def test_a_silent_net_is_an_error_and_not_a_file(place, capsys, monkeypatch):
    from audiocm.codec.codec import Codec

    silence = lambda self, latent, loudest: 0 * latent.mean(1).repeat_interleave(1024, 1)  # noqa: E731
    monkeypatch.setattr(Codec, "decode", silence)
    assert generate("rain", "-o", "x.wav") == 2
    assert "the sound made for 'rain' is silent" in capsys.readouterr().err and not os.listdir(place)


def test_a_full_disk_leaves_no_partial_file(place, capsys, monkeypatch):
    def full(self, _data):
        raise soundfile.LibsndfileError(2, "no space left: ")

    monkeypatch.setattr(soundfile.SoundFile, "write", full)
    assert generate("rain", "-o", "x.wav", "--seconds", "1") == 2
    assert "cannot write x.wav: no space left" in capsys.readouterr().err and not os.listdir(place)


def test_a_long_prompt_is_cut_with_one_line(place, capsys):
    assert generate("rain " * 50, "-o", "x.wav", "--seconds", "1") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1 and "52 tokens, the text encoder takes 32: its last 20 are cut" in lines[0]


def test_help_version_and_unknown_commands(capsys):
    for arguments, code, text in (
        (["--help"], 0, 'audiocm generate "a dog barks" -o dog.wav'),
        (["generate", "--help"], 0, "audiocm generate --prompts prompts.txt"),
        (["--version"], 0, "audiocm 0."),
        (["sing"], 2, "invalid choice: 'sing'"),
        ([], 2, "COMMAND"),
        (["--loud"], 2, "COMMAND"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        shown = capsys.readouterr()
        assert stopped.value.code == code and text in shown.out + shown.err
        assert code == 0 or len(shown.err.splitlines()) == 1


def test_help_imports_nothing_heavy():
    code = """
        import sys
        from audiocm.cli.main import main
        try: main(["generate", "--help"])
        except SystemExit: pass
        heavy = {"torch", "numpy", "diffusers", "transformers", "librosa", "soundfile"} & set(sys.modules)
        sys.exit(f"imported {heavy}" if heavy else 0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, stdout=subprocess.DEVNULL, cwd=_root())


def test_a_sound_needs_no_slow_extras_and_garbage_is_collected_after_the_start(models, place):
    code = f"""
        import gc, pathlib, sys
        from audiocm.cli.main import main
        from audiocm.pipelines import loading
        loading.PRETRAINED = pathlib.Path({str(models)!r})
        code = main(["generate", "a dog barks", "-o", {str(place / "dog.wav")!r}, "--seconds", "1"])
        slow = {{"librosa", "numba"}} & set(sys.modules)
        sys.exit(f"imported {{slow}}" if slow else "collection is off" if not gc.isenabled() else code)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, stdout=subprocess.DEVNULL, cwd=_root())


def test_a_start_that_fails_leaves_garbage_collection_on(place):
    assert generate("rain", "-o", "x.wav", "--model", "no-such-model") == 2
    assert gc.isenabled()


def _root() -> str:
    import audiocm

    return os.path.dirname(os.path.dirname(audiocm.__file__))


def test_a_broken_torchaudio_is_one_line_with_the_fix(tmp_path):
    """A torchaudio of another torch: it is found, its import fails, and transformers' models fail with it."""
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text(
        "raise OSError('torchaudio/lib/libtorchaudio.so: undefined symbol: _ZN3c10')\n"
    )
    info = tmp_path / "torchaudio-2.8.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchaudio\nVersion: 2.8.0\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), _root()])}
    run = subprocess.run(
        [sys.executable, "-m", "audiocm", "generate", "rain", "-o", "x.wav", "--model", os.fspath(weights.PRETRAINED / "tta")],
        capture_output=True, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 2 and len(run.stderr.splitlines()) == 1, run.stderr
    assert "pip uninstall torchaudio" in run.stderr and not (tmp_path / "x.wav").exists()


def test_sound_files_hold_what_was_written(tmp_path):
    wav = numpy.sin(numpy.arange(200_000) * 0.05).astype("float32") * 0.5
    for extension, tolerance in (("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.05)):
        write_sound(tmp_path / f"x.{extension}", wav, 24_000)
        read, rate = soundfile.read(tmp_path / f"x.{extension}")
        assert rate == 24_000 and len(read) == len(wav) and numpy.abs(read - wav).max() < tolerance
    stereo = numpy.stack([wav, -wav], 1)
    write_sound(tmp_path / "stereo.wav", stereo, 24_000)
    assert soundfile.read(tmp_path / "stereo.wav")[0].shape == stereo.shape


def test_train_hands_recipe_fields_and_output_on(monkeypatch, capsys):

    seen = []
    monkeypatch.setattr(recipe, "train_recipe", lambda *call: seen.append(call))
    assert main(["train", "recipes/tiny.py", "--steps", "10", "--lr=-1", "-o", "runs/a"]) == 0
    assert main(["train", "recipes/tiny.py"]) == 0
    assert seen == [("recipes/tiny.py", ["--steps", "10", "--lr=-1"], "runs/a"), ("recipes/tiny.py", [], None)]
    monkeypatch.undo()
    assert main(["train", "nowhere.py"]) == 2
    assert "nowhere.py: no such file" in capsys.readouterr().err


def test_prompt_files_are_read_line_by_line(tmp_path):
    (tmp_path / "p").write_text("one\r\n\r\ntwo three \n", encoding="utf-8")
    assert read_prompts(tmp_path / "p") == ["one", "two three"]

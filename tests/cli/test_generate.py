"""`audiocm generate` as a user meets it: files, folders, manifest, seeds, and one line for each bad input."""

import gc
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy
import pytest
import soundfile
import torch
from spoilt import SILENT, seed_of, spoil
from tiny_model import tiny_pipeline

from audiocm.cli import graphs
from audiocm.cli.main import main
from audiocm.pipelines import loading

ROOT = Path(__file__).parents[2]


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
    monkeypatch.setattr(graphs, "PRETRAINED", models)
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
    assert rows[3] == {"file": "001_1.wav", "prompt": "rain on a tin roof", "seed": 8, "retries": 0, "steps": 1, "guidance": 3.0,
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


def test_options_reach_the_model(place):
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
        ["rain", "-o", "x.wav", "--seconds", "90000"],
        "--seconds must be a number above 0 and at most 86,400, not 90000.0",
    ),
    "seconds nan": (
        ["rain", "-o", "x.wav", "--seconds", "nan"],
        "--seconds must be a number above 0 and at most 86,400, not nan",
    ),
    "seconds word": (["rain", "-o", "x.wav", "--seconds", "long"], "invalid float value: 'long'"),
    "steps": (
        ["rain", "-o", "x.wav", "--steps", "0"],
        "steps must be a whole number of at least 1 and at most 1,000, not 0",
    ),
    "guidance": (["rain", "-o", "x.wav", "--guidance", "9"], "guidance 9 is outside what the model allows: 0 to 6"),
    "temperature": (
        ["rain", "-o", "x.wav", "--temperature", "0"],
        "temperature must be a number above 0 and at most 2, not 0",
    ),
    "num": (["rain", "-o", "x", "--num", "0"], "--num must be a whole number of at least 1 and at most 100,000, not 0"),
    "retries": (
        ["rain", "-o", "x.wav", "--retries", "-1"],
        "--retries must be a whole number of at least 0 and at most 1,000, not -1",
    ),
    "seed": (
        ["rain", "-o", "x.wav", "--seed", "-1"],
        "--seed must be a whole number of at least 0 and below 4,611,686,018,427,387,904, not -1",
    ),
    "model": (["rain", "-o", "x.wav", "--model", "tts"], "unknown model 'tts': bundled are tta, tta-teacher"),
    "model folder": (["rain", "-o", "x.wav", "--model", "./none"], "no model folder './none'"),
    "device": (
        ["rain", "-o", "x.wav", "--device", "toaster"],
        "device 'toaster' cannot be used here: choose auto, cpu",
    ),
    "second CPU": (["rain", "-o", "x.wav", "--device", "cpu:5"], "device 'cpu:5' cannot be used here: choose auto"),
    "empty output": (["rain", "-o", ""], "--output must be the name of a file or folder"),
    "bytes": (["dog \udcff", "-o", "x.wav"], "argument PROMPT: 'dog \\udcff' is not UTF-8 text"),
    "there": (["rain", "-o", "there.wav"], "--output there.wav: the file exists, choose another name or replace it by"),
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
    (place / "there.wav").write_text("mine")
    assert generate(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("audiocm") and message in lines[0]
    assert sorted(os.listdir(place)) == ["bytes", "file.txt", "plain", "there.wav"]


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
    assert generate("rain", "-o", "x.wav", "--retries", "1") == 3
    shown = capsys.readouterr()
    assert shown.err == "audiocm: no sound for 'rain' (take 0, seeds 0, 1000000): it is silent\n"
    assert not shown.out and not os.listdir(place)


def test_failures_are_made_again_or_told_at_the_end_and_take_no_others_with_them(place, capsys, monkeypatch):
    prompts = [f"sound {i}" for i in range(6)]
    call = (*prompts, "--seconds", "0.5", "--num", "2", "--seed", "20", "-o")
    assert generate(*call, "plain") == 0
    spoil(monkeypatch, {seed_of(21): SILENT})
    capsys.readouterr()
    assert generate(*call, "mended") == 0 and generate(*call, "left", "--retries", "0") == 3
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("audiocm")]
    assert lines == [f"audiocm: no sound for {one!r} (take 1, seeds 21): it is silent" for one in prompts]
    assert "left: 6 of 12 sounds" in shown.out and "mended: 12 sounds" in shown.out
    rows = {
        name: [json.loads(line) for line in (place / name / "manifest.jsonl").open()] for name in ("mended", "left")
    }
    assert [(row["seed"], row["retries"]) for row in rows["mended"]] == [(20, 0), (1_000_021, 1)] * 6
    assert [row["file"] for row in rows["left"]] == [f"{i:03d}_0.wav" for i in range(6)]
    assert sorted(os.listdir("left")) == [*(row["file"] for row in rows["left"]), "manifest.jsonl"]
    for name in (f"{i:03d}_0.wav" for i in range(6)):
        assert len({(place / folder / name).read_bytes() for folder in ("plain", "mended", "left")}) == 1
    assert generate("sound 3", "--seconds", "0.5", "--seed", "1000021", "-o", "again.wav") == 0
    among, alone = soundfile.read("mended/003_1.wav")[0], soundfile.read("again.wav")[0]
    assert numpy.abs(among - alone).max() <= 2 / 32768


def test_sounds_made_before_an_interruption_are_in_the_manifest(place, monkeypatch):
    from audiocm.cli import output

    opened, open_writer = [], output.open_wave_writer

    def stop_after_five(*arguments):
        if len(opened) == 5:
            raise KeyboardInterrupt
        opened.append(arguments)
        return open_writer(*arguments)

    monkeypatch.setattr(output, "open_wave_writer", stop_after_five)
    assert generate(*(f"sound {i}" for i in range(9)), "--seconds", "0.5", "-o", "out") == 130
    rows = [json.loads(line) for line in (place / "out" / "manifest.jsonl").open()]
    assert [row["file"] for row in rows] == [f"{i:03d}_0.wav" for i in range(5)]


def test_a_full_disk_leaves_no_partial_file(place, capsys, monkeypatch):
    def full(self, _data):
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr(soundfile.SoundFile, "write", full)
    assert generate("rain", "-o", "x.wav", "--seconds", "1") == 2
    assert "cannot write x.wav: System error" in capsys.readouterr().err and not os.listdir(place)
    (place / "full.wav").symlink_to("/dev/full")
    assert generate("rain", "-o", "full.wav", "--seconds", "1") == 2
    assert "cannot write /dev/full: No space left on device" in capsys.readouterr().err


def test_a_long_prompt_is_cut_with_one_line(place, capsys):
    assert generate("rain " * 50, "-o", "x.wav", "--seconds", "1") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1 and "52 tokens, the text encoder takes 32: its last 20 are cut" in lines[0]


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
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)


def test_a_start_that_fails_leaves_garbage_collection_on(place):
    assert generate("rain", "-o", "x.wav", "--model", "no-such-model") == 2
    assert gc.isenabled()


def test_sigterm_ends_with_143_and_kill_9_leaves_a_manifest_of_whole_lines(models, place):
    code = f"""
        import os, pathlib, signal, sys
        from audiocm.cli import output
        from audiocm.cli.main import main
        from audiocm.pipelines import loading
        loading.PRETRAINED = pathlib.Path({str(models)!r})
        open_writer, count = output.open_wave_writer, 0
        def open_or_end(*arguments):
            global count
            count += 1
            if count == 6:
                os.kill(os.getpid(), getattr(signal, sys.argv[1]))
            return open_writer(*arguments)
        output.open_wave_writer = open_or_end
        sys.exit(main(["generate", *map(str, range(9)), "--seconds", "0.5", "-o", sys.argv[1]]))
    """
    for name, exit_code in (("SIGTERM", 143), ("SIGKILL", -9)):
        ended = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), name], env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        rows = [json.loads(line) for line in (place / name / "manifest.jsonl").open()]
        assert ended.returncode == exit_code and [row["file"] for row in rows] == [f"{i:03d}_0.wav" for i in range(5)]


def test_words_in_a_plain_ascii_locale(models, place):
    code = f"""
        import pathlib, sys
        from audiocm.cli.main import main
        from audiocm.pipelines import loading
        loading.PRETRAINED = pathlib.Path({str(models)!r})
        sys.exit(main(["generate", *sys.argv[1:]]))
    """
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", textwrap.dedent(code), "ein Hund – bellt", "-o", "straße", "--seconds", "0.5"]
    subprocess.run(words, check=True, env=os.environ | locale)
    assert json.loads((place / "straße" / "manifest.jsonl").read_text("utf-8"))["prompt"] == "ein Hund – bellt"


@pytest.mark.parametrize("options", [["--seconds", "13"], ["--seconds", "4", "--loop"]])
def test_long_sounds_and_loops_are_written_part_by_part(options, place, capsys):
    assert main(["generate", "rain", "wind", "-o", "out", *options]) == 0
    rows = [json.loads(line) for line in (place / "out" / "manifest.jsonl").read_text().splitlines()]
    assert [row["file"] for row in rows] == ["000_0.wav", "001_0.wav"]
    assert {row["seconds"] for row in rows} == {float(options[1])}
    for row in rows:
        info = soundfile.info(place / "out" / row["file"])
        assert info.frames == float(options[1]) * info.samplerate


def test_refining_is_steps_with_one_noise(place):
    for name, options in [("a", ["--refine", "1"]), ("b", ["--steps", "1"]), ("c", ["--refine", "3"])]:
        assert main(["generate", "rain", "-o", f"{name}.wav", "--seconds", "1", *options]) == 0
    one, plain, three = (soundfile.read(f"{name}.wav")[0] for name in "abc")
    numpy.testing.assert_array_equal(one, plain)
    assert numpy.abs(three - one).max() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--refine", "2", "--steps", "2"], "exclude each other"),
        (["--refine", "0"], "--refine must be a whole number"),
        (["--refine", "2", "--loop"], "--refine is for sounds"),
        (["--seconds", "90000"], "--seconds must be a number"),
        (["--seconds", "0.9", "--loop"], "loop must last over 1 seconds"),
    ],
)
def test_wrong_long_sounds_are_one_line(options, message, place, capsys):
    assert main(["generate", "rain", "-o", "a.wav", *options]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error and not list(place.iterdir())


def test_a_low_rank_difference_changes_the_sound(models, place, capsys):
    from audiocm.models.transformer import LatentTransformer
    from audiocm.teachers import add_lora, save_lora

    net = LatentTransformer.from_pretrained(models / "tta")
    torch.manual_seed(0)
    for weight in add_lora(net, 2):
        torch.nn.init.normal_(weight, std=0.1)
    save_lora(net, place / "lora")
    sounds = []
    for number, scale in enumerate(["0", "1", "1"]):
        arguments = [
            "generate",
            "rain",
            "-o",
            f"{number}.wav",
            "--seconds",
            "1",
            "--lora",
            "lora",
            "--lora-scale",
            scale,
        ]
        assert main(arguments) == 0
        sounds.append(soundfile.read(f"{number}.wav")[0])
    assert main(["generate", "rain", "-o", "plain.wav", "--seconds", "1"]) == 0
    numpy.testing.assert_allclose(sounds[0], soundfile.read("plain.wav")[0], atol=1e-4)
    numpy.testing.assert_array_equal(sounds[1], sounds[2])
    assert numpy.abs(sounds[1] - sounds[0]).max() > 2e-3
    assert main(["generate", "rain", "-o", "x.wav", "--lora", "none"]) == 2
    assert "LoRA file none/pytorch_lora_weights.safetensors is missing" in capsys.readouterr().err

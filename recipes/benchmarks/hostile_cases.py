"""The cases of `hostile`, composed: values of every type, for every option, argument and key, and kinds of damage.

Not a program. A fault that somebody finds is a line in one of the tables here, and so is tried in all places alike."""

import functools
import itertools
import json
import math
import os
import random
import shlex
import shutil
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from transformers import BertConfig, BertModel

import audiocm
from audiocm import diffusion, distillation, embedders, evaluation, metrics
from audiocm.cli import graphs, main as cli
from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from audiocm.diffusion import editing, guidance, paths, solvers
from audiocm.distillation import losses, methods, states, targets, timesteps
from audiocm.files import write_json, write_json_lines
from audiocm.metrics import signal, speech
from audiocm.models.text_encoder import BUNDLED_ENCODER, load_tokenizer
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines import loading
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline
from audiocm.speech.encoder import SpeechEncoder
from audiocm.teachers import load_teacher
from recipes.teachers import tiny as tiny_teacher

MARK = "CODE-RAN"  # the file that hostile code makes
RATE = 8000
NAN, INF = math.nan, math.inf
DEEP = "[" * 100_000


@dataclass(frozen=True)
class Case:
    """One wrong input. `run` returns an exit code, in a folder that `prepare` has changed."""

    kind: str
    name: str
    run: Callable[[], int]
    prepare: Callable[[Path], None] | None = None
    may_pass: bool = False  # it may be accepted too


# --- the inputs -------------------------------------------------------------------------------------------------------


def _perturbed(net: torch.nn.Module, scale: float = 0.1) -> torch.nn.Module:
    """Adds noise to weights that start at zero, so that a network of random weights can be heard."""
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(scale * torch.randn_like(weight))
    return net.eval()


def write_models(home: Path) -> None:
    """Writes tiny models of random weights in the form of the bundled ones: tta, tta-teacher, tts."""
    torch.manual_seed(0)
    size = {"channels": 4, "width": 32, "depth": 2, "heads": 2, "token_width": 16, "pooled_width": 16}
    vae = MelVAE(mel_bins=100, channels=4, widths=(8, 8, 8), blocks=(1, 1, 1), noise_channels=2).eval()
    vae.init_from_pca(torch.randn(4, 100, 64) * 1.5 - 5)
    vae.save_pretrained(home / "codec" / "vae", variant="int8")
    Vocoder(width=16, depth=1, noise_channels=2, iterations=2).save_pretrained(
        home / "codec" / "vocoder", variant="int8"
    )
    config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    pipe = TextToAudioPipeline(None, None, None, BertModel(config).eval(), load_tokenizer(BUNDLED_ENCODER))
    pipe.conditioner.save_int8(home / "text-encoder")
    for name, weights in (("tta", (0.0, 6.0)), ("tta-teacher", None)):
        loading.save_bundle(
            home / name, _perturbed(LatentTransformer(**size, guidance_range=weights)), guidance_range=(0, 6)
        )
    encoder = SpeechEncoder(4, width=16, depth=2, heads=2, frame_depth=2, voices=("anna", "ben"), follows_pitch=True)
    _perturbed(encoder).save_pretrained(home / "speech-encoder", variant="int8")
    spoken = _perturbed(LatentTransformer(**size, prior_channels=4, guidance_range=(0.0, 6.0)))
    loading.save_bundle(home / "tts", spoken, loading.SPEECH_ENCODER, num_inference_steps=1)


TOY_RECIPE = """import torch
from audiocm.training.run import Run

class Loss:
    def loss(self, student, target, x, cond, progress):
        return student(x).square().mean()

class Batches:
    def __next__(self):
        return torch.ones(2, 3), None

def run(steps: int = 2, lr: float = 1e-3, name: str = "toy", batch: int = 2, ema: float | None = 0.9) -> Run:
    return Run(name=name, net=torch.nn.Linear(3, 3), method=Loss(), batches=Batches(), steps=steps, lr=lr, ema=ema)
"""


def write_inputs(folder: Path) -> None:
    """Writes what the cases read, and makes the tiny models the bundled ones of this process."""
    os.environ |= {"AUDIOCM_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    write_models(folder / "pretrained")
    loading.PRETRAINED = graphs.PRETRAINED = folder / "pretrained"
    generator = np.random.default_rng(0)
    for name in ("sounds", "real", "other"):
        (folder / name).mkdir()
        for i in range(6):
            soundfile.write(folder / name / f"{i}.wav", generator.normal(0, 0.05, RATE // 2), RATE)
    for name in ("full", "empty", "texts"):
        (folder / name).mkdir()
    shutil.copy(folder / "sounds" / "0.wav", folder / "there.wav")
    shutil.copy(folder / "sounds" / "0.wav", folder / "full" / "000_0.wav")
    write_json_lines(folder / "full" / "manifest.jsonl", [{"file": "000_0.wav", "prompt": "rain"}])
    (folder / "file.txt").write_text("words\n")
    (folder / "texts" / "a.txt").write_text("no sound")
    (folder / "bytes").write_bytes(b"\xff\xfe\x00\x80" * 9)
    (folder / "blank").write_text(" \n\n")
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("../../CODE-RAN", "slipped")
    write_json_lines(folder / "p.jsonl", [{"file": f"{i}.wav", "prompt": "rain", "labels": ["Rain"]} for i in range(6)])
    for name in ("sounds", "other"):
        one = evaluation.score(folder / name, folder / "real", metrics="lsd", cache=None)
        write_json(folder / f"{name}.json", one.to_dict() | {"card": one.card | {"generated": name}})
    toy = embedders.CallableEmbedder(lambda wav: np.abs(np.fft.rfft(wav, 32))[:8], "toy", RATE, "1")
    evaluation.score(folder / "real", metrics=(), embedders=[toy], save_reference=folder / "real.npz")
    (folder / "toy.py").write_text(TOY_RECIPE)
    tiny_teacher.write_teacher(folder / "teacher")


# --- commands ---------------------------------------------------------------------------------------------------------


def command(
    *words: str, prepare: Callable[[Path], None] | None = None, may_pass: bool = False, kind: str = "", how: str = ""
) -> Case:
    """Returns the case of a command line."""
    shown = shlex.join(word if len(word) < 99 else f"{word[:40]}...({len(word)} letters)" for word in words[1:]) + how
    return Case(
        kind or words[0], shown.encode(errors="backslashreplace").decode(), lambda: cli.main(words), prepare, may_pass
    )


NO_NUMBER = ("", " ", "x", "nan", "1e400", "-inf", "None", "1,5", "0x10", "½", "[]", "\udcff", "9" * 400)
NO_WHOLE = (*NO_NUMBER, "1.5", "1e3", "inf", "-1")
NO_DEVICE = (
    "",
    " ",
    "zzz",
    "cpu:5",
    "cpu:-1",
    "cuda",
    "cuda:99",
    "mps",
    "meta",
    "xla",
    "hpu",
    "5",
    "\udcff",
    "cpu,cuda",
)
NO_MODEL = ("", " ", "nosuch", "./none", "a/b", "..", ".", "/", "a" * 5000, "http://x/y", "empty", "file.txt", "\udcff", "a/b/c",
            "pretrained/codec", "pretrained/text-encoder", "../..", "sounds", "--", "a\0b")  # fmt: skip
NO_FILE = ("", " ", "none", "none/none", "sounds", "bytes", "blank", "\udcff", "a\0b", "/proc/self/mem", "f" * 300)
NO_WAV = ("", " ", "x.mp3", "x", "x.wav/", "file.txt/x.wav", "there.wav", "/proc/x.wav", "/nosuch/x.wav\0", "x" * 300 + ".wav",
          ".wav", "a\0b.wav", "\udcff.mp3", "sounds/../there.wav", "x.wav.", "file.txt")  # fmt: skip

GENERATE = {
    "--seconds": (*NO_NUMBER, "inf", "-1", "0", "0.1", "60", "1e9"),
    "--steps": (*NO_WHOLE, "0", "1001", "1000000", "9" * 30),
    "--guidance": (*NO_NUMBER, "inf", "-1", "7", "1e9"),
    "--temperature": (*NO_NUMBER, "inf", "-1", "0", "2.1"),
    "--seed": (*NO_WHOLE, str(2**62), str(2**64), "9" * 30),
    "--retries": (*NO_WHOLE, "1000000"),
    "--num": (*NO_WHOLE, "0", "2", "1000000000"),
    "--model": (*NO_MODEL, "tts"),
    "--device": NO_DEVICE,
    "--prompts": NO_FILE,
    "-o": (*(one for one in NO_WAV if one != "x"), "full", "full/", "file.txt/"),
    "--nosuch": ("", "1"),
}
NO_PROMPT = ("", " ", "\t\n", "\udcff", "dog \udc80\udcff", "\ud800")
NO_TEXT = ("", " ", "?!", "мир", "\udcff", "猫", "\x00", "[[", "\u200b", "...")
NO_NOTES = (
    "",
    " ",
    "H9",
    "C4",
    "C4 " * 50,
    "C4:0 C4 C4",
    "C4:nan C4 C4",
    "C4:-1 C4 C4",
    "C99 C4 C4",
    "C4:1e400 C4 C4",
    "\udcff",
    ":",
)
SPEAK = {
    "--tempo": (*NO_NUMBER, "inf", "0", "19", "401"),
    "--speed": (*NO_NUMBER, "inf", "0", "-1", "0.4", "3"),
    "--steps": (*NO_WHOLE, "0", "1001", "1000000"),
    "--guidance": (*NO_NUMBER, "inf", "-1", "99"),
    "--seed": (*NO_WHOLE, str(2**62), "9" * 30),
    "--retries": (*NO_WHOLE, "1000000"),
    "--voice": ("", " ", "carl", "\udcff", "anna,ben"),
    "--model": (*NO_MODEL, "tta"),
    "--device": NO_DEVICE,
    "--notes": NO_NOTES,
    "-o": NO_WAV,
}
NO_EMBEDDER = ("nosuch", "vggish", "vggish:", "vggish:none", "vggish:file.txt", "vggish:archive.zip", "vggish:sounds", "panns:none", "panns:",
               "panns:bytes", "yamnet:none", "yamnet:archive.zip", "aisfx:none", "aisfx:file.txt", "a/b", "sounds", "empty", "\udcff", "x.pt",
               "bytes", "pretrained/tta", "a\0b", "a" * 5000)  # fmt: skip
NO_FOLDER = ("", " ", "none", "file.txt", "empty", "texts", "there.wav", "\udcff", "a\0b", "/proc/1/fd", "d" * 300)
SCORE = {
    "--reference": (*NO_FOLDER, "archive.zip", "p.jsonl"),
    "--metrics": ("", ",", "nosuch", "fad,nosuch", "wer", "clap", "hits", "LSD", "\udcff", "lsd lsd"),
    "--embedder": NO_EMBEDDER,
    "--clap": (*NO_EMBEDDER, "yamnet"),
    "--tagger": (*NO_EMBEDDER, "aisfx"),
    "--components": (*NO_WHOLE, "0"),
    "--loudness": ("", "loud", "\udcff"),
    "--band-limit": (*NO_WHOLE, "0", "999", "1000000000"),
    "--max-seconds": (*NO_NUMBER, "inf", "-1", "0"),
    "--max-unusable": (*NO_NUMBER, "inf", "-1", "1", "1.5"),
    "--workers": (*NO_WHOLE, "0", "1000000000"),
    "--resamples": (*NO_WHOLE, "0", "39", "100001"),
    "--seed": NO_WHOLE,
    "--device": NO_DEVICE,
    "--json": (
        *(one for one in NO_WAV if not one.startswith("x") and one != ".wav" and one != "\udcff.mp3"),
        "sounds.json",
        "sounds",
        "x" * 300,
        "bytes/x",
    ),
    "--table": ("", "x.md", "x.csv", "sounds", "sounds.json"),
    "--save-reference": ("", "x", "x.npy", "real.npz", "sounds", "a\0.npz"),
    "--preset": ("", "nosuch", "audiocaps", "codec,tts", "\udcff"),
    "--prompts": NO_FILE,
}
DISTILL = {
    "--data": NO_FILE,
    "--method": ("", "nosuch", "diffusion", "CD", "\udcff"),
    "--lora": (*NO_WHOLE, "0", "1000000000"),
    "--steps": (*NO_WHOLE, "0"),
    "--minutes": (*NO_NUMBER, "inf", "0", "-1"),
    "--w-range": (*NO_NUMBER, "inf", "-1"),
    "--save-w": (*NO_NUMBER, "inf", "-1", "99"),
    "--batch": (*NO_WHOLE, "0", "1000000000"),
    "--accumulate": (*NO_WHOLE, "0"),
    "--lr": (*NO_NUMBER, "inf", "0", "-1"),
    "--seconds": (*NO_NUMBER, "inf", "0", "-1", "1e9"),
    "--seed": (*NO_WHOLE, "9" * 30),
    "--device": NO_DEVICE,
    "--precision": ("", "fp16", "\udcff"),
    "--save-every": (*NO_WHOLE, "0"),
    "--push-to-hub": ("", "x", "a/b/c", "\udcff"),
    "-o": ("", " ", "file.txt", "sounds", "a\0b", "/proc/x", "full"),
}
TRAIN = {
    "--steps": (*NO_WHOLE, "0"),
    "--lr": (*NO_NUMBER, "inf", "-1"),
    "--ema": (*(one for one in NO_NUMBER if one != "None"), "1", "-1"),
    "--batch": ("", "x", "1.5", "nan"),
    "--name": (),
    "--nosuch": ("1", ""),
    "-o": ("", " ", "file.txt", "a\0b", "/proc/x", "file.txt/x"),
}


def options(
    words: list[str], table: dict[str, tuple[str, ...]], generator: random.Random, pairs: int = 0
) -> Iterator[Case]:
    """Yields a command with each wrong value of each option, without a value, and with two wrong options at once."""
    single = [(option, value) for option, values in table.items() for value in values]
    for option, value in single:
        given = words
        if option in words:  # in the place of the right one
            at = words.index(option)
            given = words[:at] + words[at + 2 :]
        yield command(
            *given,
            f"{option}={value}" if option.startswith("--") else option,
            *([] if option.startswith("--") else [value]),
        )
    for option in table:
        yield command(*words, option)
    for _ in range(pairs):
        (one, x), (two, y) = generator.sample([pair for pair in single if pair[0].startswith("--")], 2)
        yield command(*words, f"{one}={x}", f"{two}={y}")


def put(name: str, data: str | bytes | None) -> Callable[[Path], None]:
    """Returns a change of a folder: a file with this content, or without it (None)."""

    def change(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data.encode(errors="surrogateescape") if isinstance(data, str) else data)

    return change


def commands(generator: random.Random) -> Iterator[Case]:
    """Yields the cases of options and words of every command but the damaged files."""
    generate = ["generate", "rain", "--seconds", "0.5", "-o", "new/x.wav"]
    yield from options(generate, GENERATE, generator, 60)
    for prompt in NO_PROMPT:
        yield command("generate", prompt, "-o", "x.wav")
        yield command("generate", "rain", prompt, "-o", "out")
        yield command(
            "generate",
            "--prompts",
            "w.txt",
            "-o",
            "out",
            prepare=put("w.txt", prompt.encode("utf-8", "replace") if "\ud800" in prompt else prompt),
            how=f" of {prompt!r}",
        )
    yield from (
        command("generate", *words)
        for words in ([], ["rain"], ["-o", "x.wav"], ["rain", "wind", "-o", "x.wav"], ["rain", "-o"])
    )
    yield from options(["speak", "Hello there.", "-o", "new/x.wav"], SPEAK, generator, 60)
    for text in NO_TEXT:
        yield command("speak", text, "-o", "x.wav")
        yield command("speak", "--file", "w.txt", "-o", "x.wav", prepare=put("w.txt", text), how=f" of {text!r}")
        yield command(
            "speak", "--score", "w.txt", "-o", "x.wav", prepare=put("w.txt", text + "|C4"), how=f" of {text!r}"
        )
    for file in NO_FILE:
        yield command("speak", "--file", file, "-o", "x.wav")
        yield command("speak", "--score", file, "-o", "x.wav")
    yield command("speak", "Hello.", "--file", "file.txt", "-o", "x.wav")
    yield from options(
        ["score", "sounds", "--reference", "real", "--metrics", "lsd", "--no-cache"], SCORE, generator, 80
    )
    for folder in NO_FOLDER:
        yield command("score", folder, "--reference", "real", "--metrics", "lsd")
        yield command("score", "sounds", folder, "--reference", "real", "--metrics", "lsd")
        yield command("compare", folder, "sounds", "--reference", "real", "--metrics", "lsd")
        yield command("compare", "sounds.json", folder)
    yield command("score", "sounds", "sounds", "--reference", "real", "--metrics", "lsd")
    yield command("compare", "sounds", "sounds.json")
    yield command("compare", "sounds")
    yield command("compare", "sounds.json", "other.json", "--json", "there.wav")
    yield command("compare", "sounds.json", "other.json", "--json", "")
    yield from options(
        ["distill", "teacher", "--data", "teacher/sounds", "-o", "new", "--steps", "1", "--device", "cpu"],
        DISTILL,
        generator,
        20,
    )
    yield from (
        command("distill", model, "--data", "teacher/sounds", "-o", "new", "--steps", "1")
        for model in NO_MODEL
        if model != "--"
    )
    yield from options(["train", "toy.py", "-o", "new"], TRAIN, generator)
    yield from (command("train", file, "-o", "new") for file in (*NO_FILE, "there.wav", "archive.zip"))
    for name, source in RECIPES.items():
        yield command("train", "r.py", "-o", "new", prepare=put("r.py", source), kind="recipe", how=f" with {name}")
    yield from (
        command(word, kind="audiocm", how=repr(word)) for word in ("", "sing", "--loud", "\udcff", "Generate", "-x")
    )


RUN = TOY_RECIPE.split("def run(")[0]
RECIPES = {
    "a syntax error": "def run(:\n",
    "a NUL byte": b"def run():\0 pass\n",
    "bytes": b"\xff\xfe" * 9,
    "nothing": "",
    "no run": "x = 1\n",
    "run a number": "run = 5\n",
    "an error": "raise ValueError('mine')\n",
    "an import that fails": "import nosuch_package\n",
    "an unknown annotation": "def run(x: Nosuch = 1): pass\n",
    "a run that returns None": "def run(): return None\n",
    "a run that raises": "def run(): raise KeyError('x')\n",
    "an exit": "import sys\nsys.exit(0)\n",
    "an odd default": RUN + "def run(x: list = None): return Run(x=1)\n",
    "a field missing": RUN + "def run(): return Run(name='a')\n",
    "deep brackets": "x = " + "(" * 10_000 + "\n",
}

# --- damaged files ----------------------------------------------------------------------------------------------------

JSON_VALUES = (None, "x", "", -1, 0, 10**9, 10**400, 1.5, True, [], {}, NAN, [None, None], "\ud800", [[]])
NO_JSON = {
    "empty": "",
    "open": "{",
    "deep": DEEP,
    "deep objects": '{"a":' * 100_000,
    "null": "null",
    "a number": "5",
    "a string": '"aaa/bbb"',
    "a list": "[]",
    "an object": "{}",
    "bytes": b"\xff\xfe\x80",
    "NUL": b"\0" * 64,
}
MODEL_JSON = ("tta/bundle.json", "tta/config.json", "codec/vae/config.json", "codec/vocoder/config.json", "text-encoder/config.json",
              "text-encoder/tokenizer.json", "text-encoder/tokenizer_config.json")  # fmt: skip
WEIGHTS = ("tta/diffusion_pytorch_model.int8.safetensors", "codec/vae/diffusion_pytorch_model.int8.safetensors",
           "codec/vocoder/diffusion_pytorch_model.int8.safetensors", "text-encoder/model.int8.safetensors")  # fmt: skip


def leaves(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yields the path of every value in JSON; of a long list only the first items."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, one in items:
        yield (*path, key)
        yield from leaves(one, (*path, key))


def changed(name: str, path: tuple, value: Any) -> Callable[[Path], None]:
    """Returns a change of a folder: another value at a path of a JSON file, or of its first line."""

    def change(folder: Path) -> None:
        text, rest = (folder / name).read_text(), ""
        if name.endswith(".jsonl"):
            text, rest = text.split("\n", 1)
        found = place = json.loads(text)
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        put(name, json.dumps(found) + "\n" + rest)(folder)

    return change


def json_damage(
    name: str, content: Any, each: int, generator: random.Random
) -> Iterator[tuple[str, Callable[[Path], None], bool]]:
    """Yields (words, change, may pass) of damages of a JSON file: of the whole, and `each` values of every key."""
    for how, text in NO_JSON.items():
        yield f"{name} {how}", put(name, text), False
    yield f"{name} missing", put(name, None), False
    yield f"{name} a folder", lambda folder: (put(name, None)(folder), (folder / name).mkdir()), False
    for path in leaves(content):
        for value in generator.sample(JSON_VALUES, each):
            where = ".".join(map(str, path))
            yield f"{name} {where} = {str(value)[:20]!a}", changed(name, path, value), True


def damaged_models(generator: random.Random) -> Iterator[Case]:
    """Yields model folders with wrong JSON, wrong weights, and with code in them."""
    home, words = (
        loading.PRETRAINED,
        ("generate", "rain", "--seconds", "0.5", "-o", "new/x.wav", "--model", "pretrained/tta"),
    )
    for name in MODEL_JSON:
        content = json.loads((home / name).read_text())
        content = {
            key: value
            for key, value in content.items()
            if not isinstance(value, dict | list) or "tokenizer" not in name
        }
        for how, change, may_pass in json_damage(f"pretrained/{name}", content, 4, generator):
            yield command(
                *words,
                prepare=change,
                may_pass=may_pass or ("tokenizer_config" in name and "an object" in how),
                kind="model JSON",
                how=f" with {how}",
            )
    for name in WEIGHTS:
        whole = (home / name).read_bytes()
        size = int.from_bytes(whole[:8], "little")
        header = json.loads(whole[8 : 8 + size])
        tensors = [key for key in header if key != "__metadata__"]
        damages = {
            "missing": None,
            "empty": b"",
            "cut": whole[:-100],
            "halved": whole[: len(whole) // 2],
            "zeros": bytes(len(whole)),
            "text": b"words",
            "a long header": (2**62).to_bytes(8, "little") + whole[8:],
            "a deep header": (100_000).to_bytes(8, "little") + DEEP.encode(),
            "a pickle": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0ctouch CODE-RAN\x85R.",
        }
        for key in generator.sample(tensors, 6):
            without = {other: value for other, value in header.items() if other != key}
            damages |= {f"{key} lost": _safetensors(without, whole[8 + size :])}
            for field, value in (
                ("shape", [1]),
                ("shape", [-1, 2]),
                ("dtype", "F99"),
                ("dtype", "I64"),
                ("data_offsets", [0, 10**9]),
            ):
                damages |= {
                    f"{key} {field} {value}": _safetensors(
                        header | {key: header[key] | {field: value}}, whole[8 + size :]
                    )
                }
        for how, data in damages.items():
            yield command(
                *words, prepare=put(f"pretrained/{name}", data), kind="model weights", how=f" with {name} {how}"
            )
    yield from payloads(words)


def _safetensors(header: dict, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


CODE = f"import pathlib\npathlib.Path({MARK!r}).touch()\nclass Evil:\n    def __init__(self, *a, **k): pass\n    from_pretrained = __init__\n"
PICKLE = b"cos\nsystem\n(S'touch CODE-RAN'\ntR."
AUTO_MAP = {
    "AutoConfig": "evil.Evil",
    "AutoModel": "evil.Evil",
    "AutoTokenizer": ["evil.Evil", "evil.Evil"],
    "AutoModelForTextEncoding": "evil.Evil",
}


def payloads(words: tuple[str, ...]) -> Iterator[Case]:
    """Yields model folders that hold code: classes of other libraries, auto_map, pickles in the place of weights."""
    classes = (["os", "system"], ["subprocess", "Popen"], ["builtins", "exec"], ["evil", "Evil"], [".evil", "Evil"], ["audiocm.cli", "os"],
               ["audiocm.sounds", "tempfile"], ["audiocmevil", "Evil"], [None, "Evil"], ["audiocm", ""], ["audiocm", None], 5, None, "evil.Evil",
               ["diffusers", "DiffusionPipeline"], ["diffusers", "AutoModel"], ["diffusers", "__class__"], ["transformers", "AutoModel"], [5, 5], [])  # fmt: skip
    for part, value in itertools.product(("transformer", "vae", "text_encoder", "tokenizer"), classes):

        def index(folder: Path, part: str = part, value: Any = value) -> None:
            kinds = {
                "transformer": ["audiocm", "LatentTransformer"],
                "vae": ["audiocm", "MelVAE"],
                "vocoder": ["audiocm", "Vocoder"],
            }
            kinds |= {"text_encoder": ["transformers", "BertModel"], "tokenizer": ["transformers", "BertTokenizer"]}
            model = folder / "m"
            for name, source in {
                "transformer": "tta",
                "vae": "codec/vae",
                "vocoder": "codec/vocoder",
                "text_encoder": "text-encoder",
                "tokenizer": "text-encoder",
            }.items():
                shutil.copytree(folder / "pretrained" / source, model / name, copy_function=os.link)
                (model / name / "evil.py").write_text(CODE)
            (model / "evil.py").write_text(CODE)
            put("m/model_index.json", json.dumps({"_class_name": "TextToAudioPipeline"} | kinds | {part: value}))(
                folder
            )

        yield command(
            *words[:-1],
            "m",
            prepare=index,
            kind="payload",
            how=f" with {part} {value!r}",
            may_pass=part in ("text_encoder", "tokenizer"),
        )
    for part in ("tta", "codec/vae", "text-encoder"):
        for with_type in (False, True):

            def auto(folder: Path, part: str = part, with_type: bool = with_type) -> None:
                config = folder / "pretrained" / part / "config.json"
                found = (
                    json.loads(config.read_text())
                    | {"auto_map": AUTO_MAP}
                    | ({"model_type": "evil", "_class_name": "Evil"} if with_type else {})
                )
                put(f"pretrained/{part}/config.json", json.dumps(found))(folder)
                (config.parent / "evil.py").write_text(CODE)

            yield command(
                *words,
                prepare=auto,
                kind="payload",
                how=f" with auto_map in {part}, {with_type}",
                may_pass=not with_type,
            )
        for name in ("pytorch_model.bin", "diffusion_pytorch_model.bin", "model.pt", "model.ckpt"):

            def pickled(folder: Path, part: str = part, name: str = name) -> None:
                for weights in (folder / "pretrained" / part).glob("*.safetensors"):
                    weights.unlink()
                (folder / "pretrained" / part / name).write_bytes(PICKLE)

            yield command(*words, prepare=pickled, kind="payload", how=f" with {part}/{name}")
    for option, name in itertools.product(
        ("--embedder=vggish:", "--embedder=panns:", "--clap=", "--embedder="), ("x.pt", "x.pth", "x.bin", "x.ckpt")
    ):
        yield command("score", "sounds", "--prompts", "p.jsonl", "--metrics", "clap" if "clap" in option else "diversity", option + name,
                      prepare=put(name, PICKLE), kind="payload")  # fmt: skip


def damaged_data(generator: random.Random) -> Iterator[Case]:
    """Yields wrong prompts of scores, results, statistics, sounds and captions."""
    line = {"file": "0.wav", "prompt": "rain", "labels": ["Rain"], "f0": [220.0, None], "text": "rain"}
    score = ("score", "sounds", "--reference", "real", "--metrics", "lsd", "--prompts", "p.jsonl", "--no-cache")
    base = "\n".join(json.dumps(line | {"file": f"{i}.wav"}) for i in range(6))
    for how, text in NO_JSON.items():
        yield command(
            *score,
            prepare=put("p.jsonl", text),
            kind="prompt lines",
            how=f" that are {how}",
            may_pass=how == "an object",
        )
    for key, value in itertools.product(line, JSON_VALUES):

        def lines(folder: Path, key: str = key, value: Any = value) -> None:
            put("p.jsonl", base)(folder)
            changed("p.jsonl", (key,), value)(folder)

        yield command(*score, prepare=lines, kind="prompt lines", how=f" with {key} {str(value)[:20]!a}", may_pass=True)
    content = json.loads((loading.PRETRAINED.parent / "sounds.json").read_text())
    for how, change, may_pass in json_damage("sounds.json", content, 3, generator):
        yield command(
            "compare",
            "sounds.json",
            "other.json",
            prepare=change,
            may_pass=may_pass,
            kind="score results",
            how=f" with {how}",
        )
    table = generator.sample(list(json_damage("sounds.json", content, 1, generator)), 40)
    for how, change, may_pass in table:
        yield command(
            "compare",
            "sounds.json",
            "other.json",
            "other.json",
            "--anyway",
            prepare=change,
            may_pass=may_pass,
            kind="score results",
            how=f" with {how}",
        )
    npz = (loading.PRETRAINED.parent / "real.npz").read_bytes()
    for how, data in (
        ("empty", b""),
        ("cut", npz[:-50]),
        ("halved", npz[: len(npz) // 2]),
        ("text", b"words"),
        ("a pickle", PICKLE),
        ("zeros", bytes(999)),
    ):
        yield command(
            "score",
            "sounds",
            "--reference",
            "real.npz",
            "--metrics",
            "fad",
            "--embedder",
            "small-clap",
            prepare=put("real.npz", data),
            kind="statistics",
            how=f" {how}",
        )
    wav = (loading.PRETRAINED.parent / "sounds" / "0.wav").read_bytes()
    wrong = {"empty": b"", "text": b"words", "cut": wav[: len(wav) // 2], "a header": wav[:44], "half a header": wav[:20], "zeros": bytes(999),
             "rate 0": wav[:24] + bytes(4) + wav[28:], "rate 2^32": wav[:24] + b"\xff" * 4 + wav[28:], "0 channels": wav[:22] + bytes(2) + wav[24:]}  # fmt: skip
    for (how, data), folder in itertools.product(wrong.items(), ("sounds", "real")):

        def sounds(place: Path, data: bytes = data, folder: str = folder) -> None:
            for i in range(3):
                put(f"{folder}/{i}.wav", data)(place)

        yield command(
            "score",
            "sounds",
            "--reference",
            "real",
            "--metrics",
            "lsd",
            "--no-cache",
            prepare=sounds,
            kind="sounds",
            how=f" with {folder} {how}",
        )
    for how, text in {
        "no header": "a,b\n",
        "no file": "file,caption\nnone.wav,x\n",
        "empty": "",
        "bytes": b"\xff\xfe",
        "no sound": "file,caption\nfile.txt,x\n",
    }.items():
        for name in ("d.csv", "d.jsonl", "d.tar"):
            yield command(
                "distill",
                "teacher",
                "--data",
                name,
                "-o",
                "new",
                "--steps",
                "1",
                prepare=put(name, text),
                kind="captions",
                how=f" with {how}",
            )


# --- calls ------------------------------------------------------------------------------------------------------------

THING = object()
NUMBERS = (None, "1", "x", NAN, INF, -INF, 1j, [1.0], True, 10**400, THING)
WHOLES = (*NUMBERS, 0.5)
FUNCTIONS = (None, 5, "x", [], THING)
VALUES: dict[str, tuple] = {
    "number": NUMBERS,
    "non-negative": (*NUMBERS, -1),
    "positive": (*NUMBERS, 0, -1),
    "share": (*NUMBERS, -0.1, 1.1),
    "whole": (*WHOLES, -1),
    "count": (*WHOLES, 0, -1),
    "optional number": NUMBERS[1:],
    "optional positive": (*NUMBERS[1:], 0, -1),
    "optional count": (*WHOLES[1:], 0, -1),
    "text": (None, 5, "", " ", b"rain", THING, "\udcff"),
    "optional text": (5, b"rain", THING),
    "prompt": (5, "", " ", b"rain", THING, "\udcff", ["rain", None], ["rain", 5], ["rain", ""], [[]], {"a": 1}),
    "path": (None, 5, "", " ", THING, "a\0b", b"x"),
    "optional path": (5, "", " ", THING, "a\0b", b"x"),
    "device": (None, 5, "", "zzz", "cpu:5", "cuda", "cuda:99", "meta", THING),
    "function": FUNCTIONS,
    "optional function": FUNCTIONS[1:],
    "choice": (None, 5, "", "zzz", ["a"], True),
    "range": (None, 5, "ab", (1,), (2, 1), (NAN, 1), (1, 2, 3), (None, None), (-1, 1)),
    "object": (None, 5, "x", [], THING),
    "optional object": (5, "x", [], THING),
    "flag": (None, "x", 5, []),
    "vectors": (None, 5, "x", [], {}, np.ones(4), np.ones((1, 4)), np.ones((0, 4)), np.ones((4, 0)), np.ones((2, 3, 4)), np.full((6, 4), NAN),
                np.full((6, 4), INF), np.ones((6, 4)) * 1j, np.full((6, 4), "x"), np.full((6, 4), None), np.ones((6, 3)), np.full((6, 4), 1e200),
                [[1, 2], [3]], [np.ones((2, 4)), np.ones((2, 3))]),
    "rows": (None, 5, "x", {}, np.ones((2, 3, 4)), np.full((6, 4), NAN), np.full((6, 4), INF), np.ones((6, 4)) * 1j, np.full((6, 4), "x"),
             np.ones((6, 3)), np.zeros((6, 4)), [[1, 2], [3]]),
    "probabilities": (None, 5, "x", [], np.ones(4), np.ones((0, 4)), np.full((6, 4), NAN), -np.ones((6, 4)), np.full((6, 4), 2.0),
                      np.ones((6, 4)) * 1j, np.full((6, 4), "x"), np.ones((2, 3, 4))),
    "items": (None, 5j, "x", [], [NAN], [INF, 1.0], [1j], ["x"], [None], [[1, 2], [3]]),
    "wav": (None, 5, "x", [], np.ones((2, 3, 4)), np.full(4000, NAN), np.full(4000, "x"), np.ones(4000) * 1j, np.ones(0)),
    "tensor": (None, 5, "x", [1.0], np.ones((2, 3)), torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.complex64)),
    "times": (5, "x", [], [1.0], [0.0, 1.0], [1.0, 1.0, 0.0], [NAN, 0.0], ["x", 0.0], [None], [1.0, -1.0], [INF, 0.0]),
    "betas": (None, 5, "x", [], [0.1], [0.1, NAN], [1.5, 0.1], [-0.1, 0.1], [[0.1], [0.2]], ["x", "y"]),
    "levels": (None, 5, "x", [], [NAN], ["x"], [-1.0], [None], (0.0,)),
}  # fmt: skip
X, Y = (np.random.default_rng(seed).normal(size=(8, 4)) for seed in (0, 1))
P, Q = (np.exp(one) / np.exp(one).sum(axis=1, keepdims=True) for one in (X, Y))
WAV, NEAR = (0.1 * np.random.default_rng(seed).normal(size=16_000) for seed in (0, 1))
RESAMPLED = {"name": "optional text", "draws": "count", "seed": "whole"}
SET, PAIR = {"generated": "vectors", "reference": "vectors"}, {"generated": X, "reference": Y}


def _net(x_t: torch.Tensor, t: torch.Tensor, s: Any = None, cond: Any = None) -> torch.Tensor:
    return 0.5 * x_t


def _statistic(rows: np.ndarray) -> float:
    return float(len(rows))


NOISE = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
TEACHER = {"teacher": "function"}
LEARNT = {"teacher": _net}
CALLS: list[tuple[str, Callable, dict[str, Any], dict[str, str]]] = [  # name, function, right arguments, types of those that are spoilt
    ("metrics.frechet_distance", metrics.frechet_distance, PAIR, SET),
    ("metrics.frechet_contributions", metrics.frechet_contributions, PAIR, SET),
    ("metrics.frechet_infinity", metrics.frechet_infinity, PAIR, SET | {"steps": "count", "seed": "whole"}),
    ("metrics.frechet_score", metrics.frechet_score, PAIR | {"name": "a"}, SET | RESAMPLED | {"draw": "function"}),
    ("metrics.frechet_infinity_score", metrics.frechet_infinity_score, PAIR | {"name": "a"}, SET | RESAMPLED),
    ("metrics.Projection.fit", metrics.Projection.fit, {"reference": Y, "kept": 2}, {"reference": "vectors", "kept": "count"}),
    ("metrics.RunningMoments.update", lambda x: metrics.RunningMoments().update(x), {"x": X}, {"x": "probabilities"}),
    ("metrics.kernel_distance", metrics.kernel_distance, PAIR, SET | {"bandwidth": "optional positive"}),
    ("metrics.kernel_score", metrics.kernel_score, PAIR | {"name": "a"}, SET | RESAMPLED | {"draw": "function"}),
    ("metrics.median_bandwidth", metrics.median_bandwidth, {"reference": Y}, {"reference": "vectors", "seed": "whole"}),
    ("metrics.Neighbours", metrics.Neighbours, PAIR | {"k": 2}, SET | {"k": "count"}),
    ("metrics.top_k_hits", metrics.top_k_hits, {"probabilities": P, "accepted": [[0]] * 8}, {"probabilities": "probabilities", "top": "count", "accepted": "items"}),
    ("metrics.kl_divergences", metrics.kl_divergences, {"generated": P, "reference": Q}, {"generated": "probabilities", "reference": "probabilities", "floor": "non-negative"}),
    ("metrics.inception_score", metrics.inception_score, {"probabilities": P}, {"probabilities": "probabilities"} | RESAMPLED),
    ("metrics.mean_score", metrics.mean_score, {"name": "a", "items": [1.0, 2.0]}, {"items": "items"} | RESAMPLED),
    ("metrics.paired_difference", metrics.paired_difference, {"name": "a", "first": [1.0, 2.0], "second": [2.0, 1.0]}, {"first": "items", "second": "items"} | RESAMPLED),
    ("metrics.set_difference", metrics.set_difference, {"name": "a", "first": _statistic, "second": _statistic, "count": 8}, {"first": "function", "second": "function", "count": "count"} | RESAMPLED),
    ("metrics.cosine_similarities", metrics.cosine_similarities, {"first": X, "second": Y}, {"first": "rows", "second": "rows"}),
    ("metrics.set_diversity", metrics.set_diversity, {"embeddings": X}, {"embeddings": "rows"}),
    ("metrics.retrieval_ranks", metrics.retrieval_ranks, {"audio": X, "text": Y}, {"audio": "rows", "text": "rows", "tops": "levels"}),
    ("metrics.signal.multi_resolution_stft", signal.multi_resolution_stft, {"reference": WAV, "estimate": NEAR}, {"reference": "wav", "estimate": "wav"}),
    ("metrics.signal.log_spectral_distance", signal.log_spectral_distance, {"reference": WAV, "estimate": NEAR}, {"reference": "wav", "estimate": "wav", "n_fft": "count"}),
    ("metrics.signal.log_mel_l1", signal.log_mel_l1, {"reference": WAV, "estimate": NEAR}, {"reference": "wav", "estimate": "wav", "rate": "positive"}),
    ("metrics.signal.stoi", signal.stoi, {"reference": WAV, "estimate": NEAR, "rate": 16000}, {"reference": "wav", "estimate": "wav", "rate": "positive"}),
    ("metrics.speech.pitch_statistics", speech.pitch_statistics, {"wav": WAV, "rate": 16000}, {"wav": "wav", "rate": "positive"}),
    ("metrics.speech.word_errors", speech.word_errors, {"expected": "a b", "transcript": "a"}, {"expected": "optional text", "transcript": "optional text"}),
    ("diffusion.sample", diffusion.sample, {"net": _net, "path": paths.edm, "noise": NOISE}, {"net": "function", "path": "object", "noise": "tensor", "times": "times",
     "solver": "function", "gamma": "share", "generator": "optional object", "hook": "optional function", "start": "tensor", "draw_noise": "optional function", "landing": "function"}),
    ("diffusion.guided_net", diffusion.guided_net, LEARNT, TEACHER | {"w": "optional number"}),
    ("diffusion.adapt", diffusion.adapt, {"net": _net, "net_path": paths.edm, "path": paths.trig}, {"net": "function", "net_path": "object", "path": "object"}),
    ("diffusion.Condition", diffusion.Condition, {}, {"tokens": "optional object", "mask": "optional object", "pooled": "optional object", "guidance": "optional number"}),
    ("diffusion.guidance.uniform_guidance", guidance.uniform_guidance, {"low": 1.0, "high": 2.0}, {"low": "number", "high": "number"}),
    ("diffusion.paths.ddpm", paths.ddpm, {}, {"betas": "betas"}),
    ("diffusion.paths.scaled_linear_betas", paths.scaled_linear_betas, {}, {"steps": "count", "first": "positive", "last": "positive"}),
    ("diffusion.paths.EDM", paths.EDM, {}, {"t_min": "non-negative", "t_max": "positive", "rho": "positive"}),
    ("diffusion.paths.Trig", paths.Trig, {}, {"t_min": "non-negative", "t_max": "positive", "sigma_data": "positive"}),
    ("diffusion.solvers.ddim", solvers.ddim, {}, {"eta": "share"}),
    ("diffusion.solvers.with_churn", solvers.with_churn, {"solver": solvers.heun, "churn": 1.0, "steps": 2}, {"solver": "function", "churn": "non-negative", "steps": "count"}),
    ("diffusion.solvers.with_substeps", solvers.with_substeps, {"n": 2}, {"n": "count", "solver": "function"}),
    ("diffusion.solvers.ode_times", solvers.ode_times, {"path": paths.edm, "n": 2}, {"path": "object", "n": "count"}),
    ("diffusion.solvers.student_times", solvers.student_times, {"path": paths.edm, "n": 2}, {"path": "object", "n": "count"}),
    ("diffusion.editing.basis_along_axis", editing.basis_along_axis, {}, {"matrix": "tensor"}),
    ("diffusion.editing.cosine_matrix", editing.cosine_matrix, {}, {"n": "count"}),
    ("diffusion.editing.complete_basis", editing.complete_basis, {}, {"first": "tensor"}),
    ("diffusion.editing.keep_known", editing.keep_known, {"reference": NOISE, "unknown": NOISE > 0}, {"reference": "tensor", "unknown": "object", "basis": "object"}),
    ("distillation.get_method", distillation.get_method, {"name": "cd", "teacher": _net}, {"name": "choice", "teacher": "function", "w": "range", "path": "object"}),
    ("distillation.Method", distillation.Method, {"timesteps": timesteps.uniform, "target": targets.regression_target},
     dict.fromkeys(("timesteps", "target", "field", "distance", "weight", "coupling", "noising", "states", "compare_at", "error_weighting"), "function")
     | {"path": "object", "net_path": "object", "guidance": "optional function", "needs_target_time": "flag"}),
    ("distillation.Mix", distillation.Mix, {}, {"parts": "object"}),
    ("distillation.methods.cd", methods.cd, LEARNT, TEACHER | {"intervals": "count", "solver": "function"}),
    ("distillation.methods.ct", methods.ct, {}, {"first": "count", "last": "count"}),
    ("distillation.methods.ict", methods.ict, {}, {"first": "count", "last": "count", "mean": "number", "std": "positive", "c": "positive"}),
    ("distillation.methods.ect", methods.ect, {}, {"sampler": "optional function", "stages": "count", "q": "positive", "c": "positive"}),
    ("distillation.methods.lcm", methods.lcm, LEARNT, TEACHER | {"w": "range", "intervals": "count"}),
    ("distillation.methods.lcm_lora", methods.lcm_lora, LEARNT, TEACHER | {"w": "non-negative", "intervals": "count"}),
    ("distillation.methods.consistencytta", methods.consistencytta, LEARNT, TEACHER | {"w": "range", "intervals": "count", "t_max_weight": "non-negative", "guide": "function"}),
    ("distillation.methods.ctm", methods.ctm, LEARNT, TEACHER | {"intervals": "count", "max_stride": "count", "substeps": "count", "denoising": "non-negative"}),
    ("distillation.methods.progressive", methods.progressive, LEARNT | {"steps": 2}, TEACHER | {"steps": "count"}),
    ("distillation.methods.zipvoice", methods.zipvoice, LEARNT, TEACHER | {"w": "range", "longest": "share"}),
    ("distillation.methods.meanflow", methods.meanflow, {}, {"sampler": "optional function", "scale": "number", "share": "share"}),
    ("distillation.methods.dmd2", methods.dmd2, LEARNT | {"fake_score": torch.nn.Identity()}, TEACHER | {"levels": "levels", "adversarial_weight": "non-negative", "net_path": "object"}),
    ("distillation.timesteps.lognormal", timesteps.lognormal, {}, {"mean": "number", "std": "positive"}),
    ("distillation.timesteps.loguniform", timesteps.loguniform, {}, {"low": "positive", "high": "positive"}),
    ("distillation.timesteps.mixture", timesteps.mixture, {"share": 0.5, "first": timesteps.uniform, "second": timesteps.uniform}, {"share": "share", "first": "function", "second": "function"}),
    ("distillation.timesteps.grid_neighbours", timesteps.grid_neighbours, {}, {"intervals": "count"}),
    ("distillation.timesteps.discrete_levels", timesteps.discrete_levels, {}, {"levels": "levels"}),
    ("distillation.losses.huber", losses.huber, {}, {"c": "positive"}),
    ("distillation.losses.edm_weight", losses.edm_weight, {}, {"sigma_data": "positive"}),
    ("distillation.states.backward_simulation", states.backward_simulation, {"levels": (80.0,)}, {"levels": "levels", "first_share": "optional number"}),
    ("distillation.targets.grid_gain", targets.grid_gain, {}, {"intervals": "count"}),
    ("distillation.targets.finite_difference", targets.finite_difference, {}, {"h": "positive"}),
    ("evaluation.ScoreRequest", evaluation.ScoreRequest, {"generated": "sounds"}, {"generated": "path", "reference": "optional path", "prompts": "optional path",
     "metrics": "object", "embedders": "optional function", "clap": "optional count", "tagger": "optional count", "tokenizer": "optional text", "preprocessing": "object", "components": "count",
     "cache": "optional path", "workers": "count", "seed": "whole", "resamples": "count", "max_unusable": "share", "device": "device", "save_reference": "optional path", "preset": "optional object"}),
    ("evaluation.Preprocessing", evaluation.Preprocessing, {}, {"loudness": "choice", "trim": "flag", "min_seconds": "non-negative", "max_seconds": "positive", "band_limit": "optional count"}),
    ("evaluation.preset_options", evaluation.preset_options, {}, {"name": "choice"}),
    ("evaluation.ranks", evaluation.ranks, {}, {"results": "object"}),
    ("evaluation.table_of_systems", evaluation.table_of_systems, {}, {"results": "object"}),
    ("evaluation.compare", evaluation.compare, {"first": evaluation.ScoreRequest("sounds"), "second": evaluation.ScoreRequest("other")}, {"first": "object", "second": "object", "resamples": "count"}),
    ("evaluation.evaluate_systems", evaluation.evaluate_systems, {"request": evaluation.ScoreRequest("sounds", metrics="lsd", reference="real"), "folders": ["sounds"]}, {"request": "object", "folders": "object"}),
    ("load_embedder", embedders.load_embedder, {"name": "small-clap"}, {"name": "path", "device": "device"}),
    ("load_teacher", load_teacher, {}, {"name": "path"}),
    ("TextToAudioPipeline.from_pretrained", TextToAudioPipeline.from_pretrained, {"name": "tta"}, {"name": "path", "device": "device", "variant": "optional text", "torch_dtype": "optional text"}),
    ("TextToSpeechPipeline.from_pretrained", TextToSpeechPipeline.from_pretrained, {"name": "tts"}, {"name": "path", "device": "device"}),
]  # fmt: skip
RUN_FIELDS = {
    **dict.fromkeys(
        ("steps", "accumulate", "save_every", "log_every", "validate_every", "sample_every", "bad_steps"), "count"
    ),
    **dict.fromkeys(("warmup", "seed"), "whole"),
    **dict.fromkeys(("lr", "weight_decay"), "non-negative"),
    **dict.fromkeys(("max_grad_norm", "max_wall_seconds", "train_seconds", "shard_mb"), "optional positive"),
    **dict.fromkeys(("decay", "is_better", "export", "net", "method", "batches"), "function"),
    **dict.fromkeys(("validate", "sample"), "optional function"),
    "betas": "range",
    "ema": "optional number",
    "target_ema": "optional number",
    "precision": "choice",
}
CALL_FIELDS = {
    "prompt": "prompt",
    "audio_length_in_s": "optional positive",
    "num_inference_steps": "optional count",
    "guidance_scale": "optional number",
    "negative_prompt": "prompt",
    "num_waveforms_per_prompt": "count",
    "generator": "optional object",
    "latents": "tensor",
    "solver": "optional function",
    "output_type": "choice",
    "callback": "optional function",
    "callback_steps": "count",
    "callback_on_step_end": "optional function",
    "callback_on_step_end_tensor_inputs": "object",
    "temperature": "optional positive",
    "gamma": "optional number",
    "prompt_embeds": "tensor",
    "max_retries": "whole",
    "on_failure": "choice",
}
SPEECH_FIELDS = {
    "text": "prompt",
    "num_inference_steps": "optional count",
    "speed": "positive",
    "voice": "choice",
    "guidance_scale": "optional number",
    "generator": "optional object",
    "max_retries": "whole",
    "on_failure": "choice",
}


@functools.cache
def _pipe(kind: type, name: str) -> Any:
    return kind.from_pretrained(name)


def _toy_run(**fields: Any) -> audiocm.Run:
    space: dict = {}
    exec(TOY_RECIPE, space)
    made = space["run"]()
    return audiocm.Run(
        **{"name": "toy", "net": made.net, "method": made.method, "batches": made.batches, "steps": 2} | fields
    )


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").lstrip("_")


def call(
    name: str, function: Callable, right: dict[str, Any], argument: str, value: Any, may_pass: bool = False
) -> Case:
    """Returns the case of a call with one wrong argument, whose error has to name it."""

    def run() -> int:
        try:
            function(**right | {argument: value})
        except (ValueError, TypeError) as error:
            named = _plain(argument) in _plain(str(error)) or _plain(argument).removesuffix("s") in _plain(str(error))
            print(f"audiocm: {' '.join(str(error).split())}", file=sys.stderr)
            return 2 if named else 1
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 1
        return 0

    text = (
        f"array{list(value.shape)} of {value.reshape(-1)[:1]}"
        if isinstance(value, np.ndarray | torch.Tensor)
        else repr(value)
    )
    shown = "object()" if value is THING else text[:40]
    return Case("call", f"{name}({argument}={shown})".encode(errors="backslashreplace").decode(), run, None, may_pass)


def calls() -> Iterator[Case]:
    """Yields every public function with each of its arguments spoilt."""
    audio, teacher = (
        (lambda **given: _pipe(TextToAudioPipeline, "tta")(**given)),
        (lambda **given: _pipe(TextToAudioPipeline, "tta-teacher")(**given)),
    )
    table = [
        *CALLS,
        ("Run", _toy_run, {}, RUN_FIELDS),
        ("TextToAudioPipeline.__call__", audio, {"prompt": "rain", "audio_length_in_s": 0.5}, CALL_FIELDS),
        (
            "teacher.__call__",
            teacher,
            {"prompt": "rain", "audio_length_in_s": 0.5, "num_inference_steps": 1},
            {"negative_prompt": "prompt", "guidance_scale": "optional number"},
        ),
        (
            "TextToSpeechPipeline.__call__",
            lambda **given: _pipe(TextToSpeechPipeline, "tts")(**given),
            {"text": "Hello."},
            SPEECH_FIELDS,
        ),
        (
            "TextToAudioPipeline.to",
            lambda device: _pipe(TextToAudioPipeline, "tta").to(device),
            {},
            {"device": "device"},
        ),
    ]
    for name, function, right, types in table:
        for argument, kind in types.items():
            for value in VALUES[kind]:
                optional = value is None and (
                    argument in ("latents", "prompt_embeds", "start", "voice", "is_better") or name == "get_method"
                )
                empty = value in ("", " ") and argument in ("negative_prompt",) if isinstance(value, str) else False
                yield call(name, function, right, argument, value, may_pass=bool(optional or empty))
        yield call(name, function, right, "no_such_argument", 1)


def all_cases(seed: int) -> list[Case]:
    """Returns all cases, in an order that the seed does not change; it draws values of keys and pairs of options."""
    generator = random.Random(seed)
    return [*commands(generator), *damaged_models(generator), *damaged_data(generator), *calls()]

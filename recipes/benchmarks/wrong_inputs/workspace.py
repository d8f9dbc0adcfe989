"""A case of wrong input, the folder that cases read (tiny models, sounds, a recipe), and changes of its files."""

import json
import math
import os
import random
import shutil
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

from audiocm import embedders, evaluation
from audiocm.cli import graphs
from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from audiocm.files import write_json, write_json_lines
from audiocm.models.text_encoder import BUNDLED_ENCODER, load_tokenizer
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines import loading
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from audiocm.speech.encoder import SpeechEncoder
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

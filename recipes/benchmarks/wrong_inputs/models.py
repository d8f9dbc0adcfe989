"""Cases of model folders: damaged JSON and weights, and code that a folder carries."""

import itertools
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiocm.pipelines import loading
from recipes.benchmarks.wrong_inputs.commands import command
from recipes.benchmarks.wrong_inputs.workspace import DEEP, MARK, Case, json_damage, put

MODEL_JSON = ("tta/bundle.json", "tta/config.json", "codec/vae/config.json", "codec/vocoder/config.json", "text-encoder/config.json",
              "text-encoder/tokenizer.json", "text-encoder/tokenizer_config.json")  # fmt: skip
WEIGHTS = ("tta/diffusion_pytorch_model.int8.safetensors", "codec/vae/diffusion_pytorch_model.int8.safetensors",
           "codec/vocoder/diffusion_pytorch_model.int8.safetensors", "text-encoder/model.int8.safetensors")  # fmt: skip


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

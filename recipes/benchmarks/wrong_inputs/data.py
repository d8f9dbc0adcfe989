"""Cases of data: damaged prompts, results, statistics, sounds and captions."""

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiocm.pipelines import loading
from recipes.benchmarks.wrong_inputs.commands import command
from recipes.benchmarks.wrong_inputs.models import PICKLE
from recipes.benchmarks.wrong_inputs.workspace import JSON_VALUES, NO_JSON, Case, changed, json_damage, put


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

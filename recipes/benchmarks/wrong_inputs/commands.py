"""Cases of the command line: wrong values of every option, wrong words, wrong recipes."""

import random
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from audiocm.cli import main as cli
from recipes.benchmarks.wrong_inputs.workspace import TOY_RECIPE, Case, put


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

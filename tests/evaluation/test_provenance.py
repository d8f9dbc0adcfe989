"""Cards: whose commit they name, what makes two measurements differ, and what refuses a comparison."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from toy_scoring import ask, noise_folder, toy_tagger

from audiocm.evaluation import provenance
from audiocm.evaluation.preprocessing import Preprocessing
from audiocm.evaluation.scoring import compare_files, evaluate
from audiocm.version import __version__

PACKAGE = Path(provenance.__file__).parents[1]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """An empty git repository, and a function that runs git in it."""
    monkeypatch.delenv("AUDIOCM_COMMIT", raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    names = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]

    def git(*arguments):
        command = ["git", *names, *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    return tmp_path, git


def copy_package(folder):
    folder.mkdir(parents=True)
    return Path(shutil.copy(PACKAGE / "__init__.py", folder)).parent


def test_the_commit_of_another_repository_is_not_taken(repository):
    """Installed in an environment inside a repository, tracked in one, or beside its files: the version is what is known."""
    root, git = repository
    (root / "theirs.txt").write_text("theirs")
    vendored = copy_package(root / "vendor" / "audiocm")
    git("add", "theirs.txt", "vendor")
    git("commit", "-qm", "theirs")
    installed, untracked = copy_package(root / ".venv" / "site-packages" / "audiocm"), copy_package(root / "audiocm")
    for package in (vendored, installed, untracked):
        assert provenance.commit(package) == f"version {__version__}"


def test_the_commit_of_the_source_tree_is_taken_and_changes_are_marked(repository, monkeypatch):
    root, git = repository
    package = copy_package(root / "audiocm")
    git("add", "audiocm")
    git("commit", "-qm", "ours")
    assert provenance.commit(package) == git("rev-parse", "--short=12", "HEAD")
    (package / "__init__.py").write_text("changed")
    assert provenance.commit(package) == git("rev-parse", "--short=12", "HEAD") + "+"
    monkeypatch.setenv("AUDIOCM_COMMIT", "abc")
    assert provenance.commit(package) == "abc"


def test_without_git_there_is_the_version(tmp_path, monkeypatch):
    monkeypatch.delenv("AUDIOCM_COMMIT", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.commit() == f"version {__version__}"


def test_names_are_part_of_the_reference_if_a_metric_pairs_by_them(folders, tmp_path):
    made, real, cards = folders[0], noise_folder(tmp_path / "same", 40, 3), {}
    for turn in ("before", "after"):
        requests = {metric: ask(made, real, metrics=metric, tagger=toy_tagger()) for metric in ("fad", "lsd", "kl")}
        cards[turn] = {metric: evaluate(request).card for metric, request in requests.items()}
        for there, back in (("000", "x"), ("001", "000"), ("x", "001")):
            (real / f"{there}.wav").rename(real / f"{back}.wav")
    assert provenance.differences(cards["before"]["fad"], cards["after"]["fad"]) == []
    for metric in ("lsd", "kl"):
        lines = provenance.differences(cards["before"][metric], cards["after"][metric])
        assert [line.split(":")[0] for line in lines] == ["reference"]


def test_cards_that_differ_refuse_to_be_compared(folders, tmp_path):
    a, b, real = folders
    files = [tmp_path / f"{i}.json" for i in range(3)]
    requests = ask(a, real), ask(b, real), ask(b, real, preprocessing=Preprocessing(loudness="peak"))
    for file, request in zip(files, requests, strict=True):
        file.write_text(json.dumps(evaluate(request).to_dict()))
    assert compare_files(files[0], files[1]).differences == {}
    with pytest.raises(ValueError, match=r"form\.loudness: as_is != peak"):
        compare_files(files[0], files[2])
    assert compare_files(files[0], files[2], ignore_cards=True)
    one = json.loads(files[0].read_text())["card"]
    assert provenance.differences(one, one | {"commit": "x", "versions": {}}) == []
    assert provenance.differences(one, one | {"seed": 5}) == ["seed: 0 != 5"]

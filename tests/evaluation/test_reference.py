"""Statistics of a reference in a file: they stand for its clips, and nothing else is taken for them."""

import json

import numpy as np
import pytest
from toy_scoring import ask, toy

from audiocm.evaluation.preprocessing import Preprocessing
from audiocm.evaluation.provenance import differences
from audiocm.evaluation.reference import ReferenceStatistics
from audiocm.evaluation.scoring import evaluate, evaluate_systems

METRICS = ("fad", "fad-inf", "fd-pca", "diversity")


@pytest.fixture
def saved(folders, tmp_path):
    """A reference folder and the file of its statistics."""
    evaluate(ask(folders[2], metrics=(), save_reference=tmp_path / "real.npz"))
    return folders[2], tmp_path / "real.npz"


def test_statistics_give_the_values_and_the_card_of_their_folder(folders, saved):
    real, file = saved
    whole, given = (evaluate(ask(folders[0], reference, metrics=METRICS)) for reference in (real, file))
    assert list(whole.scores) == list(given.scores)
    for name, score in whole.scores.items():
        assert given.scores[name].value == pytest.approx(score.value, rel=1e-6), name
        assert given.scores[name].low <= given.scores[name].value <= given.scores[name].high
    assert differences(whole.card, given.card) == []
    assert given.outliers[0]["share"] == pytest.approx(whole.outliers[0]["share"])
    assert any("known by its statistics" in text for text in given.warnings)


def test_the_statistics_of_a_scored_reference_are_those_of_its_own(folders, saved, tmp_path):
    evaluate(ask(folders[0], saved[0], metrics=("fad",), save_reference=tmp_path / "again.npz"))
    one, two = (ReferenceStatistics.load(file) for file in (saved[1], tmp_path / "again.npz"))
    assert one.digest == two.digest and one.clips == two.clips == 60
    assert np.array_equal(one.embedders["bands"].moments.covariance, two.embedders["bands"].moments.covariance)


def test_what_statistics_cannot_stand_for_is_refused(folders, saved, tmp_path):
    a, file = folders[0], saved[1]
    for more, message in (
        ({"metrics": ("fad", "kad", "lsd")}, "kad, lsd: statistics do not suffice .they do for fad, fad-inf, fd-pca"),
        ({"metrics": "fad", "embedders": (toy("2"),)}, "of another bands: digest: 1 != 2"),
        ({"metrics": "fad", "preprocessing": Preprocessing(trim=True)}, "preprocessed differently: ends"),
        ({"metrics": "fad", "save_reference": tmp_path / "b.npz"}, "--reference is a file of them"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(ask(a, file, **more))


def test_damaged_and_hostile_files_are_refused(saved, tmp_path):
    with np.load(saved[1]) as stored:
        good = dict(stored)
    about = json.loads(str(good["about"][()]))

    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "mark"), "w"))

    changed = (
        {"mean_0": np.full(8, np.nan)},
        {"mean_0": np.zeros(7)},
        {"covariance_0": -np.eye(8)},
        {"covariance_0": np.triu(np.ones((8, 8)))},
        {"mean_0": np.array([Payload()], dtype=object)},
        {"about": np.array("[" * 100_000)},
        {"about": np.array(json.dumps(about | {"clips": "60"}))},
        {"about": np.array(json.dumps(about | {"more": 1}))},
        {"about": np.array(json.dumps(about | {"format": 99}))},
    )
    for one in changed:
        np.savez(tmp_path / "bad.npz", **good | one)
        with pytest.raises(ValueError, match=r"bad\.npz: no statistics of --save-reference"):
            ReferenceStatistics.load(tmp_path / "bad.npz")
    for content in (b"", b"PK\x03\x04", saved[1].read_bytes()[:200]):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(ValueError, match="no statistics"):
            ReferenceStatistics.load(tmp_path / "bad.npz")
    assert not (tmp_path / "mark").exists()


def test_several_systems_share_the_reference(folders, tmp_path):
    names = [str(folder) for folder in folders[:2]]
    together = evaluate_systems(ask(folders[0], folders[2]), names)
    for name in names:
        alone = evaluate(ask(name, folders[2]))
        assert together[name].scores == alone.scores and differences(together[name].card, alone.card) == []
    with pytest.raises(ValueError, match="named twice"):
        evaluate_systems(ask(folders[0], folders[2]), names[:1] * 2)
    with pytest.raises(ValueError, match="no such folder"):
        evaluate_systems(ask(folders[0], folders[2]), [names[0], tmp_path / "missing"])

"""Presets: settings of a field's tables, and what of them the user brings."""

import pytest

from audiocm.evaluation import PRESETS, ScoreRequest, preset_options
from audiocm.evaluation.preprocessing import Preprocessing
from audiocm.evaluation.registry import find_metric

WEIGHTS = {"embedders": ("vggish:v.pth", "panns:p.pth"), "clap": "630k.pt"}
FILES = {
    "audiocaps": WEIGHTS,
    "stable-audio": {"embedders": ("openl3:o.h5", "passt:p.pt"), "clap": "630k.pt"},
    "tts-zero-shot": {"metrics": ("utmos:u.pt", "sim-o:w.pth")},
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_a_request_of_known_metrics(name):
    options = preset_options(name, **FILES.get(name, {}))
    request = ScoreRequest("made", "real", "prompts.jsonl", **options)
    assert all(find_metric(metric) for metric in request.metrics) and request.preset["changed"] == []
    assert request.preset["name"] == name and request.preset["follows"] and request.preset["departs"]


def test_weights_that_a_preset_needs_are_asked_for():
    with pytest.raises(ValueError, match=r"needs weights .* --embedder vggish:FILE,panns:FILE"):
        preset_options("audiocaps")
    with pytest.raises(ValueError, match=r"needs weights .* --embedder panns:FILE"):
        preset_options("audiocaps", embedders=("vggish:v.pth",))
    with pytest.raises(ValueError, match=r"needs weights .* --clap FILE.pt"):
        preset_options("audiocaps", embedders=WEIGHTS["embedders"])
    assert preset_options("audiocaps", embedders=WEIGHTS["embedders"], metrics=("fad",))["preset"]["changed"] == [
        "metrics"
    ]
    with pytest.raises(ValueError, match="--preset must be one of audiocaps, stable-audio"):
        preset_options("nothing")


def test_metrics_that_only_name_files_complete_the_presets():
    both = r"needs weights .* --metrics sim-o:FILE,utmos:FILE \(sim-o: wavlm_large_finetune.pth of github.com"
    with pytest.raises(ValueError, match=both):
        preset_options("tts-zero-shot")
    with pytest.raises(ValueError, match=r"needs weights .* --metrics sim-o:FILE \("):
        preset_options("tts-zero-shot", metrics="utmos:u.pt")
    options = preset_options("tts-zero-shot", metrics=("utmos:u.pt", "sim-o:w.pth"))
    assert options["metrics"] == ("wer", "sim-o:w.pth", "utmos:u.pt")
    assert preset_options("tts-zero-shot", metrics=("wer",))["preset"]["changed"] == ["metrics"]


def test_what_the_user_changes_is_on_the_card():
    own = PRESETS["text-to-audio"].preprocessing
    same = preset_options("text-to-audio", preprocessing=own)
    assert same["preset"]["changed"] == [] and same["preprocessing"] == own
    changed = preset_options("text-to-audio", embedders=("small-clap",), preprocessing=Preprocessing("peak", trim=True))
    assert changed["preset"]["changed"] == ["band_limit", "embedders", "loudness", "max_seconds"]
    assert changed["embedders"] == ("small-clap",)

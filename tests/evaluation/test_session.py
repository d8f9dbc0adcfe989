"""The request and the folders of an evaluation: what is refused, and when."""

import numpy as np
import pytest
import soundfile
from toy_scoring import RATE, ask, bands, noise_folder, toy, write_lines

from audiocm.embedders.protocol import CallableEmbedder
from audiocm.evaluation.preprocessing import list_clips
from audiocm.evaluation.scoring import evaluate
from audiocm.evaluation.session import ScoreRequest


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"resamples": 1}, "--resamples must be a whole number of at least 40"),
        ({"seed": -1}, "--seed must be a whole number of at least 0"),
        ({"workers": 0}, "--workers must be a whole number of at least 1"),
        ({"components": 0}, "--components must be a whole number of at least 1 and at most 1,000,000, not 0"),
        ({"max_unusable": 1.0}, "--max-unusable must be a number of at least 0 and below 1, not 1.0"),
        ({"metrics": ()}, "no metric is named"),
        ({"resamples": 10**9}, "--resamples must be a whole number .* at most 100,000"),
        ({"preset": "audiocaps"}, r"use \*\*preset_options\('audiocaps'\)"),
        ({"device": "bogus"}, "device 'bogus' cannot be used here: choose auto, cpu"),
        ({"device": "cuda:77"}, "device 'cuda:77' cannot be used here"),
        ({"device": "meta"}, "device 'meta' cannot be used here"),
    ],
)
def test_options_that_are_not_allowed_are_refused(folders, option, message):
    with pytest.raises(ValueError, match=message):
        ask(folders[0], folders[2], **option)


def test_one_metric_or_embedder_may_be_named_without_a_list(folders):
    request = ScoreRequest(folders[0], metrics="is", embedders="yamnet")
    assert (request.metrics, request.embedders) == (("is",), ("yamnet",))


def test_two_embedders_of_one_name_are_refused(folders):
    a, _, real = folders
    assert evaluate(ask(a, real, embedders=(toy(), toy()))).scores
    with pytest.raises(ValueError, match="two embedders are called bands"):
        evaluate(ask(a, real, embedders=(toy("1"), toy("2"))))


def test_missing_inputs_are_named_before_any_clip_is_embedded(folders):
    a, _, real = folders
    calls = []
    counting = CallableEmbedder(lambda wav: calls.append(1) or bands(wav), "bands", RATE, "1")
    for metric, message in (
        ("fad", "fad: .*--reference"),
        ("lsd", "lsd: .*--reference"),
        ("nonsense", "known: fad"),
        ("clap", "clap: .*--prompts or a --reference"),
        ("wer", "wer: .*--prompts"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(ask(a, metrics=("diversity", metric), clap=counting, embedders=(counting,)))
    prompts = write_lines(a / "words", [{"prompt": "x", "labels": ["x"]}] * 40)
    for metric, message in (
        ("clap", "bands has no text encoder: --clap takes"),
        ("kl", "need an embedder with class prob"),
        ("hits", "bands does not name its classes"),
        ("alignment", "bands does not name"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(ask(a, real, metrics=metric, prompts=prompts, clap=toy(), tagger=toy()))
    with pytest.raises(ValueError, match=r"000\.wav: is a file, name its folder"):
        evaluate(ask(a / "000.wav", real))
    assert not calls
    with pytest.raises(ValueError, match=r"files of the same names: 40 generated files have no reference"):
        evaluate(ask(noise_folder(a.parent / "renamed", 40, 9, prefix="x"), real, metrics=("lsd",)))
    with pytest.raises(ValueError, match="unknown embedder 'nothing'"):
        evaluate(ask(a, real, embedders=("nothing",)))


def test_unusable_clips_are_named_and_too_many_refuse(folders, tmp_path):
    a, _, real = folders
    soundfile.write(a / "silent.wav", np.zeros(4000), RATE)
    result = evaluate(ask(a, real))
    assert any("1 silent left out" in text for text in result.warnings)
    assert result.reports["generated"]["left_out"] == {"silent": 1}
    (a / "empty.wav").touch()
    soundfile.write(a / "short.wav", np.full(10, 0.5), RATE)
    with pytest.raises(ValueError, match=r"generated: 3 of 43 clips .* 1 corrupt .*, 1 too short .*, 1 silent "):
        evaluate(ask(a, real))
    assert evaluate(ask(a, real, max_unusable=0.1)).scores
    (tmp_path / "silence").mkdir()
    soundfile.write(tmp_path / "silence" / "a.wav", np.zeros(4000), RATE)
    with pytest.raises(ValueError, match="none of 1 clips can be scored: 1 silent"):
        evaluate(ask(tmp_path / "silence", real))


def test_a_folder_with_nothing_usable_is_refused_by_paired_metrics_too(tmp_path):
    real, silent = noise_folder(tmp_path / "real", 3, 1), noise_folder(tmp_path / "silent", 3, 1)
    for file in list_clips(silent):
        soundfile.write(file, np.zeros(4000), RATE)
    with pytest.raises(ValueError, match="3 of 3 clips cannot be used: 3 silent"):
        evaluate(ask(silent, real, metrics="lsd"))
    with pytest.raises(ValueError, match="3 of 3 clips cannot be used"):
        evaluate(ask(silent, real, metrics="lsd", max_unusable=0.99))


def test_files_of_one_name_or_of_unread_formats_are_not_passed_over(folders, tmp_path):
    a, b, real = folders
    for i in range(20):
        (b / f"{i:03d}.wav").rename(b / f"{i:03d}.m4a").write_bytes(b"\0\0\0 ftypM4A ")
    with pytest.raises(ValueError, match="generated: 20 of 40 clips cannot be used: 20 corrupt"):
        evaluate(ask(b, real))
    soundfile.write(a / "003.flac", soundfile.read(a / "003.wav")[0], RATE)
    assert evaluate(ask(a, real)).card["clips"]["generated"] == 41
    prompts = write_lines(tmp_path / "words", [{"prompt": f"noise {i}"} for i in range(41)])
    for more in ({"metrics": "lsd"}, {"metrics": "diversity", "prompts": prompts}):
        with pytest.raises(ValueError, match=r"003\.flac and .*003\.wav differ only in their suffix"):
            evaluate(ask(a, real, **more))

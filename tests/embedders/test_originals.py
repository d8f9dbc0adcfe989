"""Ports against the numbers of the original implementations on equal made weights and sound.

`originals.json` is written by `recipes/evaluation/embedder_fixtures.py`, which says how; no original is needed here.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.special import expit, softmax

from audiocm.embedders.registry import load_embedder, load_tagger
from recipes.evaluation.embedder_fixtures import make_sound, make_weights

CASES = json.loads(Path(__file__).with_name("originals.json").read_text(encoding="utf-8"))


@pytest.fixture
def weight_file(tmp_path):
    """Writes the weights of a case as its published file holds them, and returns the file's path."""

    def write(case, wrap=lambda state: state):
        torch.save(wrap(make_weights(CASES[case]["shapes"])), tmp_path / f"{case}.pt")
        return tmp_path / f"{case}.pt"

    return write


def array(case, key):
    return np.array(CASES[case][key])


def farthest(found, wanted):
    assert found.shape == wanted.shape and np.isfinite(found).all() and wanted.std() > 1e-3
    return np.abs(found - wanted).max() / np.abs(wanted).max()


def test_passt_equals_hear21passt(weight_file):
    passt = load_embedder(f"passt:{weight_file('passt')}")
    wavs = [make_sound(32000, seconds) for seconds in (10.0, 1.0)]
    found, logits = passt.features(wavs), array("passt", "logits")
    assert farthest(found["embedding"], array("passt", "embedding")) < 1e-5
    assert farthest(found["distribution"], softmax(logits, axis=1)) < 1e-5
    assert farthest(found["probabilities"], expit(logits)) < 1e-5
    for i, wav in enumerate(wavs):
        assert np.abs(passt.features([wav])["embedding"][0] - found["embedding"][i]).max() < 1e-5


def test_passt_averages_windows_of_ten_seconds_every_five(weight_file):
    passt, wav = load_embedder(f"passt:{weight_file('passt')}"), make_sound(32000, 17.0)
    parts = [wav[: 10 * 32000], wav[5 * 32000 : 15 * 32000], wav[10 * 32000 :]]
    each = passt.features(parts)["embedding"]
    assert np.abs(passt.features([wav])["embedding"][0] - each.mean(axis=0)).max() < 1e-5
    assert [len(part) for part in passt.windows(wav)] == [320000] * 3
    assert [len(part) for part in passt.windows(wav[:40000])] == [40000]  # at most 1.5 s: not filled up
    assert [len(part) for part in passt.windows(wav[:64000])] == [320000]
    assert load_tagger(f"passt:{weight_file('passt')}").name == "passt"


@pytest.mark.parametrize(("case", "seconds"), [("msclap-2022", 5.0), ("msclap-2023", 7.0)])
def test_microsofts_clap_equals_msclap(weight_file, case, seconds):
    from audiocm.embedders.msclap import MsClap

    model, wav = MsClap(weight_file(case, lambda state: {"model": state})), make_sound(44100, seconds)
    found = model.embed_audio([wav, wav[:30000]])
    assert farthest(found[:1], array(case, "embedding")) < 1e-5
    assert np.abs(model.embed_audio([wav[:30000]])[0] - found[1]).max() < 1e-5
    assert np.array_equal(model.cut(wav[:30000]), np.tile(wav[:30000], 20)[: len(wav)])
    ids = torch.tensor(CASES[case]["ids"], dtype=torch.long)
    tokens = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    assert farthest(model.embed_tokens(tokens).numpy(), array(case, "text")) < 1e-5
    long = make_sound(44100, 2 * seconds)
    assert np.array_equal(model.cut(long), model.cut(long)) and len(model.cut(long)) == len(wav)


def test_microsofts_clap_scores_words_with_the_tokenizer_that_is_named(weight_file, tmp_path):
    from transformers import GPT2Tokenizer

    letters = [*"abcdefghijklmnopqrstuvwxyzĠ"]
    vocabulary = {token: i for i, token in enumerate(["!", *letters, *(f"w{i}" for i in range(70)), "<|endoftext|>"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    GPT2Tokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path / "gpt2")
    file = weight_file("msclap-2023")
    clap = load_embedder(f"msclap:{file}", tokenizer=str(tmp_path / "gpt2"))
    texts = ["a dog barks", "rain", "wind " * 90]
    words = clap.embed_text(texts)
    assert words.shape == (3, 32) and np.abs(clap.embed_text(texts[1:2])[0] - words[1]).max() < 1e-5
    audio = clap.features([make_sound(44100, 1.0)] * 3)["embedding"]
    assert (np.abs(clap.text_scores(audio, texts)) <= 1).all()
    with pytest.raises(ValueError, match="name one with --tokenizer"):
        load_embedder(f"msclap:{file}").embed_text(texts)
    (tmp_path / "vocab.json").write_text(json.dumps(dict(list(vocabulary.items())[:40])))
    GPT2Tokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="the file 99: it needs that of gpt2"):
        load_embedder(f"msclap:{file}", tokenizer=str(tmp_path / "other"))


def test_the_speaker_verifier_of_sim_o_equals_unispeechs(weight_file):
    for case in ("sim-o-base", "sim-o-large"):
        judge = load_embedder(f"sim-o:{weight_file(case)}")
        found = judge.features([make_sound(16000, seconds) for seconds in (2.0, 0.7)])["embedding"]
        assert farthest(found, array(case, "embedding")) < 1e-5
        alone = judge.features([make_sound(16000, 0.7)])["embedding"]
        assert np.abs(alone[0] - found[1]).max() < 1e-5 and np.isfinite(judge.features([np.ones(3)])["embedding"]).all()


def as_speechmos(state):
    """Renames the original's weights of UTMOS to those of SpeechMOS's file."""
    names = {"feature_extractors.0.ssl_model.": "wav2vec2.", "output_layers.0.decoder_rnn.": "blstm.",
             "output_layers.1.net.0.": "projection.0.", "output_layers.1.net.3.": "projection.2."}  # fmt: skip
    renamed = {"domain_emb": state["feature_extractors.1.embedding.weight"][:1]}
    renamed["judge_emb"] = state["output_layers.0.judge_embedding.weight"][288:289]
    for theirs, ours in names.items():
        renamed |= {ours + key[len(theirs) :]: value for key, value in state.items() if key.startswith(theirs)}
    return renamed


def test_utmos_equals_its_original_under_both_files_names(weight_file):
    wavs = [make_sound(16000, seconds) for seconds in (2.0, 0.7)]
    for wrap in (lambda state: state, as_speechmos):
        judge = load_embedder(f"utmos:{weight_file('utmos', wrap)}")
        found = judge.features(wavs)["embedding"]
        assert farthest(found, array("utmos", "embedding")) < 1e-5
        assert np.abs(judge.features(wavs[1:])["embedding"][0] - found[1]).max() < 1e-5
    assert np.isfinite(judge.features([np.zeros(3, np.float32)])["embedding"]).all()


def test_aesthetics_equal_audiobox_aesthetics_from_a_file_or_folder(weight_file, tmp_path):
    options = CASES["aesthetics"]["options"]
    named = weight_file("aesthetics", lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}, **options})
    wavs = [make_sound(16000, seconds) for seconds in (12.0, 0.7)]
    judge = load_embedder(f"aesthetics:{named}")
    found = judge.features(wavs)["embedding"]
    assert farthest(found, array("aesthetics", "embedding")) < 1e-5
    assert np.abs(judge.features(wavs[1:])["embedding"][0] - found[1]).max() < 1e-5
    save_file(make_weights(CASES["aesthetics"]["shapes"]), tmp_path / "model.safetensors")
    settings = options["model_cfg"] | {"target_transform": options["target_transform"]}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert np.array_equal(load_embedder(f"aesthetics:{tmp_path}").features(wavs[1:])["embedding"][0], found[1])
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        load_embedder(f"aesthetics:{tmp_path}")


FILES = [
    ("passt", "not a PaSST"),
    ("msclap", "not a CLAP of Microsoft's"),
    ("sim-o", "not UniSpeech's speaker verifier"),
    ("utmos", "not UTMOS's strong learner"),
    ("aesthetics", "not Audiobox Aesthetics"),
]


@pytest.mark.parametrize(("kind", "line"), FILES)
def test_files_of_something_else_are_named_in_one_line(kind, line, tmp_path):
    torch.save({"model": {"something.weight": torch.ones(3)}}, tmp_path / "other.pt")
    (tmp_path / "junk.pt").write_bytes(b"junk")
    for file, reason in (("other.pt", line), ("junk.pt", "without running code"), ("no.pt", "no such weight file")):
        with pytest.raises(ValueError, match=reason) as error:
            load_embedder(f"{kind}:{tmp_path / file}")
        assert "\n" not in str(error.value) and file in str(error.value)
    with pytest.raises(ValueError, match=f"{kind} needs its weight file, .+ of .+: {kind}:FILE"):
        load_embedder(kind)


@pytest.fixture
def keras_file(tmp_path):
    """The made weights of OpenL3 as Keras writes them: a group for each layer, its arrays under their names."""
    import h5py

    shapes = CASES["openl3"]["shapes"]
    named = {key.replace("moving_variance", "running_var").replace("gamma", "weight"): key for key in shapes}
    as_torch = {name: [shapes[key][i] for i in (3, 2, 0, 1)] if len(shapes[key]) == 4 else shapes[key]
                for name, key in named.items()}  # fmt: skip
    made = dict(zip(named.values(), make_weights(as_torch).values(), strict=True))
    layers = list(dict.fromkeys(key.split("/")[0] for key in shapes))
    with h5py.File(tmp_path / "openl3_audio_mel256_music.h5", "w") as file:
        file.attrs["layer_names"] = ["input_1", *layers]
        file.create_group("input_1").attrs["weight_names"] = np.array([], "S1")
        for layer in layers:
            group, keys = file.create_group(layer), [key for key in shapes if key.split("/")[0] == layer]
            group.attrs["weight_names"] = keys
            for key in keys:
                value = made[key]
                group[key] = (value.permute(2, 3, 1, 0) if value.ndim == 4 else value).numpy()
    return tmp_path / "openl3_audio_mel256_music.h5"


def test_openl3_equals_openl3_of_tensorflow(keras_file):
    openl3 = load_embedder(f"openl3:{keras_file}")
    wavs = [make_sound(48000, seconds) for seconds in (1.3, 0.4)]
    found = openl3.features(wavs)
    for i, key in enumerate(("long", "short")):
        assert farthest(found["frames"][i], array("openl3", key)) < 1e-4
        assert np.abs(found["embedding"][i] - array("openl3", key).mean(axis=0)).max() < 1e-3
        alone = openl3.features([wavs[i]])["embedding"][0]
        assert np.abs(alone - found["embedding"][i]).max() < 1e-5 * np.abs(alone).max()


def test_files_that_are_not_openl3s_are_told(tmp_path):
    import h5py

    (tmp_path / "text.h5").write_text("no HDF5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["layer_names"] = []
    with h5py.File(tmp_path / "mel128.h5", "w") as file:
        file.attrs["layer_names"] = []
    for name, message in [
        ("text", "not the weights of OpenL3 in Keras"),
        ("other", "its layers have"),
        ("mel128", "only"),
    ]:
        with pytest.raises(ValueError, match=message):
            load_embedder(f"openl3:{tmp_path / name}.h5")

"""CLAP scorers: transformers' model, LAION's keys and front end, and the small one's loss, windows and recipe parts."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference_weights import patterned
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

from audiocm.embedders.clap import ClapScorer
from audiocm.embedders.laion_clap import KEY_NAMES, config_from_weights, load_laion, rename_keys
from audiocm.embedders.registry import load_embedder
from audiocm.embedders.small_clap import SmallClap, contrastive_loss, small_clap_scorer, split_in_windows
from audiocm.evaluation.preprocessing import Preprocessing
from audiocm.evaluation.provenance import card

AUDIO = {
    "patch_embeds_hidden_size": 16, "hidden_size": 128, "depths": [1, 1, 2, 1], "num_attention_heads": [1, 2, 4, 8],
    "projection_dim": 32,
}  # fmt: skip
TEXT = {
    "vocab_size": 32, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 128,
    "projection_dim": 32, "max_position_embeddings": 90, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
}  # fmt: skip


def tiny_model(seed=0):
    torch.manual_seed(seed)
    return ClapModel(ClapConfig(audio_config=AUDIO, text_config=TEXT, projection_dim=32)).eval()


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A transformers CLAP folder with random weights and a byte-level tokenizer."""
    from transformers import ClapProcessor, RobertaTokenizer

    folder = tmp_path_factory.mktemp("clap")
    letters = [*"abcdefghijklmnopqrstuvwxyzĠ"]
    vocabulary = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = RobertaTokenizer.from_pretrained(folder)
    front_end = ClapFeatureExtractor(truncation="rand_trunc", frequency_min=50, frequency_max=14000)
    ClapProcessor(front_end, tokenizer).save_pretrained(folder)
    tiny_model().save_pretrained(folder)
    return folder


def test_transformers_folder_scores_as_the_model_itself_does(folder):
    judge = ClapScorer.from_pretrained(folder)
    wav = noise(48000 * 2)
    front_end = ClapFeatureExtractor.from_pretrained(folder)
    with torch.inference_mode():
        inputs = front_end(wav, sampling_rate=48000, return_tensors="pt")
        expected = F.normalize(tiny_model().get_audio_features(**inputs).pooler_output, dim=-1)
    assert np.abs(judge.embed_audio([noise(9000, 1), wav])[1] - expected[0].numpy()).max() < 1e-6
    words = judge.embed_text(["a dog barks", "rain"])
    assert np.linalg.norm(words, axis=1) == pytest.approx([1, 1], abs=1e-5)
    audio = judge.embed_audio([wav, noise(48000)])
    per_clip = judge.text_scores(audio, ["a dog barks", "rain"])
    assert per_clip == pytest.approx((audio * words).sum(1), abs=1e-6)


def test_long_clips_are_cut_alike_every_time_and_batches_do_not_matter(folder):
    judge, long = ClapScorer.from_pretrained(folder), noise(48000 * 11)
    before = np.random.get_state()[1].copy()
    once, again = judge.embed_audio([long])[0], judge.embed_audio([noise(5000), long])[1]
    assert np.array_equal(once, again)
    assert np.array_equal(before, np.random.get_state()[1])


def test_a_folder_without_its_vocabulary_is_refused(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "wordless")
    for file in (tmp_path / "wordless").iterdir():
        if file.name in ("vocab.json", "merges.txt", "tokenizer.json"):
            file.unlink()
    with pytest.raises(ValueError, match="wordless"):
        ClapScorer.from_pretrained(tmp_path / "wordless")


def as_laion(state):
    """ClapModel's keys → LAION's: the inverse of the mapping, written from LAION's side."""
    found, joined = {}, {}
    for key, value in state.items():
        if "audio_encoder" in key:
            for ours, theirs in (
                ("attention.self.query", "q"),
                ("attention.self.key", "k"),
                ("attention.self.value", "v"),
            ):
                if ours in key:
                    joined.setdefault(key.replace(ours, "attn.qkv"), {})[theirs] = value
                    break
            else:
                key = key.replace("attention.output.dense", "attn.proj").replace("attention.self.", "attn.")
                for theirs, ours in (("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense"),
                                     ("norm1", "layernorm_before"), ("norm2", "layernorm_after"), ("bn0", "batch_norm")):  # fmt: skip
                    key = key.replace(ours, theirs)
                found[key] = value
        else:
            key = key.replace("_projection.linear1", "_projection.0").replace("_projection.linear2", "_projection.2")
            found[key.replace("text_model", "text_branch")] = value
    found |= {key: torch.cat([parts[n] for n in "qkv"]) for key, parts in joined.items()}
    return {"module." + k.replace("audio_model.audio_encoder", "audio_branch"): v for k, v in found.items()}


def test_laion_keys_convert_back_and_sizes_are_read(tmp_path):
    model = tiny_model()
    model.config.audio_config.num_attention_heads = [4, 8, 16, 32]
    theirs = as_laion(model.state_dict())
    assert not any("query" in key and "audio" in key for key in theirs) and len(KEY_NAMES) == 10
    back = rename_keys(theirs)
    for key, value in model.state_dict().items():
        assert torch.equal(back[key], value), key
    config = config_from_weights(back)
    assert config.audio_config.depths == [1, 1, 2, 1] and config.audio_config.hidden_size == 128
    assert config.text_config.num_hidden_layers == 2 and not config.audio_config.enable_fusion


def test_a_laion_file_hears_but_does_not_read_without_a_tokenizer(tmp_path, folder):
    torch.manual_seed(0)
    config = ClapConfig(
        audio_config=AUDIO | {"patch_embeds_hidden_size": 32, "hidden_size": 256, "num_attention_heads": [4, 8, 16, 32]},
        text_config=TEXT, projection_dim=32,
    )  # fmt: skip
    model = ClapModel(config).eval()
    file = tmp_path / "tiny.pt"
    torch.save({"epoch": np.int64(3), "state_dict": as_laion(model.state_dict()), "score": np.float64(0.5)}, file)
    loaded, front_end, _ = load_laion(file)
    assert front_end.frequency_min == 50 and front_end.truncation == "rand_trunc" and front_end.padding == "repeatpad"
    ids = torch.randint(5, 32, (2, 7))
    with torch.inference_mode():
        first, second = (m.get_text_features(input_ids=ids).pooler_output for m in (model, loaded))
    assert torch.allclose(first, second, atol=1e-6)
    judge = ClapScorer.from_pretrained(file)
    assert judge.embed_audio([noise(48000)]).shape == (1, 32)
    assert card([judge], Preprocessing(), 0)["embedders"]["laion:tiny"]["clip"] == "rand_trunc to 10 s, repeatpad"
    with pytest.raises(ValueError, match="has no tokenizer"):
        judge.embed_text(["rain"])
    reads = load_embedder(str(file), "cpu", str(folder))  # as --clap FILE.pt --tokenizer FOLDER
    assert reads.embed_text(["rain"]).shape == (1, 32) and reads.digest != judge.digest
    (tmp_path / "wordless").mkdir()
    (tmp_path / "wordless" / "config.json").write_text('{"model_type": "roberta"}')  # gives five special tokens
    for tokenizer in (tmp_path / "wordless", tmp_path / "absent"):
        with pytest.raises(ValueError, match=r"wordless|absent"):
            load_embedder(str(file), "cpu", str(tokenizer))
    torch.save({"state_dict": {"a": torch.ones(1)}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="not a LAION CLAP checkpoint"):
        ClapScorer.from_pretrained(tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"gone\.pt: no such weight file"):
        load_embedder("gone.pt")
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="bare: holds no CLAP that transformers can read"):
        load_embedder(str(tmp_path / "bare"))


def test_laion_file_gives_the_embeddings_of_laion_clap(tmp_path):
    """laion-clap 1.1.7's own network (width 32, two blocks a stage) gave these embeddings with `patterned` weights."""
    with np.load(Path(__file__).with_name("laion_clap_reference.npz")) as file:
        names, shapes, expected = file["names"].tolist(), file["shapes"].tolist(), file["embedding"]
    state = {n: torch.empty([int(k) for k in s.split(",") if k]) for n, s in zip(names, shapes, strict=True)}
    torch.save({"state_dict": patterned(state)}, tmp_path / "patterned.pt")
    at = np.arange(48000 * 4) / 48000
    chirp = (0.3 * np.sin(2 * np.pi * 300 * at * (1 + at))).astype(np.float32)
    found = ClapScorer.from_pretrained(tmp_path / "patterned.pt").embed_audio([noise(480000), chirp, noise(9000, 1)])
    assert np.abs(found - expected).max() < 1e-5


def test_contrast_has_its_minimum_at_a_match_and_shares_equal_captions():
    eye = torch.eye(4)
    perfect = contrastive_loss(eye, eye, torch.tensor(100.0), eye.bool())
    wrong = contrastive_loss(eye, eye.roll(1, 0), torch.tensor(100.0), eye.bool())
    assert perfect < 1e-6 and wrong > 50
    uniform = contrastive_loss(eye, eye, torch.tensor(0.0), eye.bool())
    assert float(uniform) == pytest.approx(np.log(4))
    pairs = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]).bool()
    twins = torch.stack([eye[0], eye[0], eye[1], eye[1]])
    assert float(contrastive_loss(twins, twins, torch.tensor(100.0), pairs)) == pytest.approx(np.log(2), abs=1e-6)


def test_windows_cover_the_clip_and_pad_a_short_one():
    wav = torch.arange(10.0)
    assert split_in_windows(wav, 4).tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert split_in_windows(wav[:3], 4).tolist() == [[0, 1, 2, 0]]
    assert split_in_windows(wav[:4], 4).shape == (1, 4)


def test_small_clap_is_stored_loaded_and_judges_clips_one_by_one(tmp_path):
    from types import SimpleNamespace

    torch.manual_seed(0)
    net = SmallClap(widths=(8, 16), depths=(1, 1), dim=12, words=6, seconds=1.0).eval()
    net.save_pretrained(tmp_path)
    again = SmallClap.from_pretrained(tmp_path)
    judges = [
        small_clap_scorer(n, lambda texts: SimpleNamespace(pooled=torch.ones(len(texts), 6)), "x") for n in (net, again)
    ]
    wavs = [noise(24000, 1), noise(60000, 2), noise(3000, 3)]
    first, second = (judge.embed_audio(wavs) for judge in judges)
    assert np.allclose(first, second, atol=1e-6) and np.linalg.norm(first, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert np.allclose(judges[0].embed_audio(wavs[1:2]), first[1:2], atol=1e-5)
    assert judges[0].embed_text(["a", "b"]).shape == (2, 12)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError):
        ClapScorer.from_pretrained("no-such-model")

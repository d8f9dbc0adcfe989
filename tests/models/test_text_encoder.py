"""Text conditioning: the bundled encoder against its float32 original, warnings of cut prompts, damaged files."""

import socket
import warnings
from pathlib import Path

import numpy
import pytest
import torch
from tiny_model import ENCODER
from transformers import AutoModelForTextEncoding, BertModel

from audiocm.models import text_encoder
from audiocm.models.text_encoder import (
    BUNDLED_ENCODER,
    TextConditioner,
    load_text_encoder,
    load_tokenizer,
    sentence_vector,
)


@pytest.fixture(scope="module")
def conditioner() -> TextConditioner:
    return TextConditioner.from_pretrained()


def test_int8_sentence_vectors_are_the_originals(conditioner):
    """Cosine to the float32 vectors of sentence-transformers/all-MiniLM-L6-v2 above 0.999."""
    reference = numpy.load(Path(__file__).with_name("minilm_reference.npz"))
    vectors = conditioner([str(prompt) for prompt in reference["prompts"]]).pooled
    cosine = (vectors * torch.from_numpy(reference["vectors"]).float()).sum(-1)
    assert (cosine > 0.999).all() and torch.allclose(vectors.norm(dim=-1), torch.ones(3))


def test_shapes_are_fixed_and_batch_mates_do_not_matter(conditioner):
    both = conditioner(["a dog barks", "heavy rain on a tin roof with distant thunder"])
    alone = conditioner(["a dog barks"])
    assert both.tokens.shape == (2, 32, 384) and both.tokens.dtype == torch.float32
    assert both.token_mask.sum(1).tolist() == [6, 11]  # [CLS] a dog bark ##s [SEP]
    assert torch.allclose(both.tokens[:1, :6], alone.tokens[:, :6], atol=1e-5)
    assert torch.allclose(both.pooled[:1], alone.pooled, atol=1e-6)


def test_a_long_prompt_is_cut_with_a_warning(conditioner):
    with pytest.warns(
        UserWarning, match=r"has 42 tokens, the text encoder takes 32: its last 10 are cut \(24% of it\)"
    ):
        cond = conditioner(["dog " * 40])
    assert cond.token_mask.all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conditioner(["dog " * 30])


def test_sentence_vector_is_the_normalized_mean_of_unpadded_tokens():
    tokens, mask = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]]), torch.tensor([[True, True, False]])
    assert torch.allclose(sentence_vector(tokens, mask), torch.tensor([[0.5**0.5, 0.5**0.5]]))


def test_loading_needs_no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    TextConditioner.from_pretrained()


def small_encoder() -> BertModel:
    torch.manual_seed(0)
    return BertModel(ENCODER).eval()


def test_int8_and_plain_folders_read_back(tmp_path, conditioner):
    mine = TextConditioner(small_encoder(), conditioner.tokenizer, max_tokens=8)
    mine.save_int8(tmp_path / "int8")
    mine.encoder.save_pretrained(tmp_path / "plain")
    mine.tokenizer.save_pretrained(tmp_path / "plain")
    expected = mine(["a dog barks"])
    for name, tolerance in (("int8", 2e-2), ("plain", 1e-6)):
        again = TextConditioner.from_pretrained(tmp_path / name, max_tokens=8)(["a dog barks"])
        assert torch.allclose(again.tokens, expected.tokens, atol=tolerance * 4)
        assert torch.equal(again.token_mask, expected.token_mask)


def test_damage_is_named(tmp_path, conditioner):
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        load_text_encoder(tmp_path)
    TextConditioner(small_encoder(), conditioner.tokenizer).save_int8(tmp_path)
    weights = tmp_path / text_encoder.INT8_FILE
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"model\.int8\.safetensors is damaged"):
        load_text_encoder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer\.json is damaged"):
        TextConditioner(small_encoder(), load_tokenizer(tmp_path))


def test_a_failure_of_transformers_names_the_folder_or_the_broken_package(tmp_path, monkeypatch):
    """An OSError or RuntimeError is about this folder, unless a torchaudio of another torch is behind it."""
    TextConditioner(small_encoder(), load_tokenizer(BUNDLED_ENCODER)).save_int8(tmp_path)
    for message, expected, pattern in (
        ("[Errno 28] No space left on device", ValueError, r"text encoder in .* could not be read: .*No space left"),
        ("libtorchaudio.so: undefined symbol", ImportError, "pip uninstall torchaudio"),
    ):

        def fail(*_args, message=message, **_options):
            raise OSError(message)

        monkeypatch.setattr(AutoModelForTextEncoding, "from_config", fail)
        with pytest.raises(expected, match=pattern):
            load_text_encoder(tmp_path)

"""The text encoder and the tokenizer without transformers against those of transformers."""

import json
import shutil

import pytest
import torch

from audiocm.models.bert import BertEncoder, PlainTokenizer, load_plain_text_encoder, load_plain_tokenizer
from audiocm.models.text_encoder import (
    BUNDLED_ENCODER,
    INT8_FILE,
    TextConditioner,
    load_text_encoder,
    load_tokenizer,
)

PROMPTS = [
    "a dog barks",
    "",
    "Über-große Türen; naïve café",
    "雨 falls [PAD] [MASK] 🙂",
    "a\tlong\nrain " * 30,
    "x" * 300,
]


@pytest.fixture(scope="module")
def plain() -> tuple:
    return load_plain_text_encoder(BUNDLED_ENCODER), load_plain_tokenizer(BUNDLED_ENCODER)


@pytest.fixture(scope="module")
def originals() -> tuple:
    return load_text_encoder(BUNDLED_ENCODER), load_tokenizer(BUNDLED_ENCODER)


def test_tokens_are_those_of_transformers(plain, originals):
    assert isinstance(plain[1], PlainTokenizer) and plain[1].get_vocab() == originals[1].get_vocab()
    assert sorted(plain[1].all_special_ids) == sorted(set(originals[1].all_special_ids))
    fixed = {"padding": "max_length", "truncation": True, "max_length": 32, "return_tensors": "pt"}
    for options in (fixed, {"padding": False, "truncation": False}, fixed | {"max_length": 5}):
        one, other = (tokenizer(PROMPTS, **options) for _, tokenizer in (plain, originals))
        for name in ("input_ids", "attention_mask"):
            assert torch.equal(torch.as_tensor(one[name]), other[name]) if "return_tensors" in options else True
            assert [list(map(int, row)) for row in one[name]] == [list(map(int, row)) for row in other[name]]


def test_states_are_those_of_transformers(plain, originals):
    """Equal to 1e-6 where a token is real: the kernels may differ in rounding."""
    assert isinstance(plain[0], BertEncoder)
    one, other = (TextConditioner(*parts) for parts in (plain, originals))
    with pytest.warns(UserWarning, match="its last"):
        one, other = one(PROMPTS), other(PROMPTS)
    assert torch.equal(one.token_mask, other.token_mask)
    real = one.token_mask
    assert torch.allclose(one.tokens[real], other.tokens[real], atol=1e-6, rtol=0)
    assert torch.allclose(one.pooled, other.pooled, atol=1e-6, rtol=0)


def test_both_read_the_same_weights(plain, originals):
    state, other = plain[0].state_dict(), originals[0].state_dict()
    assert state.keys() == other.keys() - {"embeddings.position_ids", "embeddings.token_type_ids"}
    assert all(torch.equal(value, other[name]) for name, value in state.items())


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("config.json", {"hidden_act": "relu"}),
        ("config.json", {"position_embedding_type": "relative_key"}),
        ("tokenizer_config.json", {"padding_side": "left"}),
    ],
)
def test_what_is_another_network_goes_to_transformers(tmp_path, name, changes):
    shutil.copytree(BUNDLED_ENCODER, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_text(json.dumps(json.loads((tmp_path / name).read_text()) | changes))
    if name == "config.json":
        assert not isinstance(load_plain_text_encoder(tmp_path), BertEncoder)
    else:
        assert not isinstance(load_plain_tokenizer(tmp_path), PlainTokenizer)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("config.json", '{"model_type": "bert", "hidden_size": 0}', "hidden_size must be"),
        (
            "config.json",
            '{"model_type": "bert", "hidden_size": 50, "num_attention_heads": 7}',
            "must split into 7 heads",
        ),
        ("config.json", '{"model_type": "bert", "auto_map": {"AutoModel": "x.y"}}', "names code"),
        ("config.json", '{"model_type": "bert", "num_hidden_layers": 2}', "does not fit"),
        ("tokenizer.json", "{", "tokenizer in .* could not be read|is damaged"),
        ("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": ["x.y", null]}}', "names code"),
        (INT8_FILE, "", "is damaged"),
    ],
)
def test_damaged_files_are_one_line(tmp_path, name, text, reason):
    shutil.copytree(BUNDLED_ENCODER, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=reason) as raised:
        load_plain_text_encoder(tmp_path), load_plain_tokenizer(tmp_path)
    assert "\n" not in str(raised.value)

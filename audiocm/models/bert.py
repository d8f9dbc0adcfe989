"""BERT (Devlin et al. 2019), the bundled text encoder's architecture, and its tokenizer, without transformers.

Attributes have the names of transformers' BertModel, so that both read the same files and `TextConditioner` takes both.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from ..devices import usual_defaults
from ..schema import number, read_json, table, whole
from .configured import Configured, no_init_weights, register_to_config
from .folders import check_folder, config_rule, json_rule
from .text_encoder import INT8_FILE, load_text_encoder, load_tokenizer, unreadable
from .weights import has_variant, load_weights

_SIZES = {
    **dict.fromkeys(("hidden_size", "intermediate_size"), whole(1, 8192)),
    **dict.fromkeys(("num_hidden_layers", "num_attention_heads"), whole(1, 128)),
    **dict.fromkeys(("vocab_size", "max_position_embeddings", "type_vocab_size"), whole(1, 2**22)),
    "layer_norm_eps": number(0, 1),
}
_PLAIN = {  # what another value of would be another network than this one
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
_WORDS = {"padding_side": "right", "truncation_side": "right"}  # of tokenizers that are read here


class EncoderOutput(NamedTuple):
    """The states of the last layer, [batch, token, dim]."""

    last_hidden_state: Tensor


class _Projection(nn.Module):
    """A linear map, added to its residual, and a layer norm."""

    def __init__(self, taken: int, width: int, epsilon: float):
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(taken, width), nn.LayerNorm(width, epsilon)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + residual)


class _Layer(nn.Module):
    """Self-attention and MLP, each with a residual connection and a norm after it."""

    def __init__(self, width: int, hidden: int, heads: int, epsilon: float):
        super().__init__()
        self.heads = heads
        self.attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")}),
                "output": _Projection(width, width, epsilon),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, hidden)})
        self.output = _Projection(hidden, width, epsilon)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        parts = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in self.attention["self"].values())
        mixed = F.scaled_dot_product_attention(*parts, attn_mask=mask).transpose(1, 2).flatten(2)
        x = self.attention["output"](mixed, x)
        return self.output(F.gelu(self.intermediate["dense"](x)), x)


class _Embeddings(nn.Module):
    """Sums the embeddings of tokens, positions and the first token type, and normalizes them."""

    def __init__(self, words: int, places: int, types: int, width: int, epsilon: float):
        super().__init__()
        self.word_embeddings, self.position_embeddings = nn.Embedding(words, width), nn.Embedding(places, width)
        self.token_type_embeddings, self.LayerNorm = nn.Embedding(types, width), nn.LayerNorm(width, epsilon)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.word_embeddings(ids) + self.token_type_embeddings.weight[0]
        return self.LayerNorm(x + self.position_embeddings.weight[: ids.shape[1]])


class BertEncoder(Configured, nn.Module):
    """Maps token numbers [batch, token] to states [batch, token, dim], as transformers' BertModel without dropout.

    Raises ValueError unless `hidden_size` splits into the heads."""

    @register_to_config
    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 384,
        num_hidden_layers: int = 6,
        num_attention_heads: int = 12,
        intermediate_size: int = 1536,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        layer_norm_eps: float = 1e-12,
    ):
        super().__init__()
        if hidden_size % num_attention_heads:
            raise ValueError(f"hidden_size {hidden_size} must split into {num_attention_heads} heads")
        sizes = (vocab_size, max_position_embeddings, type_vocab_size, hidden_size, layer_norm_eps)
        self.embeddings = _Embeddings(*sizes)
        layer = (hidden_size, intermediate_size, num_attention_heads, layer_norm_eps)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(_Layer(*layer) for _ in range(num_hidden_layers))})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(hidden_size, hidden_size)})  # in files, and not used

    def get_input_embeddings(self) -> nn.Embedding:
        """Returns the table of words."""
        return self.embeddings.word_embeddings

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> EncoderOutput:
        """Tokens where the mask is 0 have no influence on the others. Both are [batch, token]."""
        x, mask = self.embeddings(input_ids), attention_mask.bool()[:, None, None, :]
        for layer in self.encoder["layer"]:
            x = layer(x, mask)
        return EncoderOutput(x)


class Words(dict):
    """`input_ids` and `attention_mask`: lists, or tensors [batch, token]."""

    @property
    def input_ids(self) -> Any:
        """Numbers of the tokens."""
        return self["input_ids"]

    def to(self, device: torch.device | str) -> "Words":
        """Returns the tensors on a device."""
        return Words({name: value.to(device) for name, value in self.items()})

    def convert_to_tensors(self, kind: str = "pt") -> "Words":
        """Returns lists of one length as tensors of torch."""
        return Words({name: torch.tensor(rows) for name, rows in self.items()})


class PlainTokenizer:
    """A tokenizer of a tokenizer.json with the part of transformers' interface that `TextConditioner` uses."""

    def __init__(self, tokenizer: Tokenizer, pad: str = "[PAD]"):
        self.tokenizer, self.pad = tokenizer, pad

    @property
    def all_special_ids(self) -> list[int]:
        """Numbers of the tokens that are no words."""
        return [number for number, token in self.tokenizer.get_added_tokens_decoder().items() if token.special]

    def get_vocab(self) -> dict[str, int]:
        """Returns the number of each token."""
        return self.tokenizer.get_vocab()

    def __call__(
        self,
        texts: Sequence[str],
        padding: str | bool = False,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> Words:
        """Numbers texts; padding: "max_length" or False; return_tensors: "pt" or None."""
        if truncation:
            self.tokenizer.enable_truncation(max_length)
        else:
            self.tokenizer.no_truncation()
        if padding:
            number = self.tokenizer.token_to_id(self.pad) or 0
            self.tokenizer.enable_padding(length=max_length, pad_id=number, pad_token=self.pad)
        else:
            self.tokenizer.no_padding()
        found = self.tokenizer.encode_batch(list(texts))
        words = Words(input_ids=[one.ids for one in found], attention_mask=[one.attention_mask for one in found])
        return words.convert_to_tensors(return_tensors) if return_tensors else words


def is_plain_encoder(folder: Path) -> bool:
    """Whether a text encoder's folder is a `BertEncoder` in int8 with a tokenizer.json, which need no transformers."""
    names = ("config.json", "tokenizer.json", "tokenizer_config.json", INT8_FILE)
    if not all((folder / name).is_file() for name in names):
        return False
    config = read_json(folder / "config.json", "model file", config_rule)
    return all(config.get(name, value if name != "model_type" else None) == value for name, value in _PLAIN.items())


@usual_defaults()
def load_plain_text_encoder(
    folder: str | os.PathLike, dtype: torch.dtype | None = None, variant: str | None = None
) -> nn.Module:
    """Loads a text encoder as `load_text_encoder`, without transformers if it is a `BertEncoder`. Raises the same."""
    folder = Path(folder)
    if (variant not in (None, "int8") and has_variant(folder, variant)) or not is_plain_encoder(folder):
        return load_text_encoder(folder, dtype, variant if variant and has_variant(folder, variant) else None)
    check_folder(folder)
    config = read_json(folder / "config.json", "model file", table(_SIZES, others=lambda *_: None))
    try:
        with no_init_weights():
            encoder = BertEncoder.from_config(config)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise unreadable("text encoder", folder, error) from error
    return load_weights(encoder, folder / INT8_FILE).to(dtype or torch.float32).eval()


def load_plain_tokenizer(folder: str | os.PathLike) -> Any:
    """Loads a tokenizer as `load_tokenizer`, without transformers if its encoder is a `BertEncoder`. Raises the same."""
    folder = Path(folder)
    settings = folder / "tokenizer_config.json"
    if not (folder / "tokenizer.json").is_file() or not settings.is_file():
        return load_tokenizer(folder)
    config = read_json(settings, "model file", json_rule)
    sides = all(config.get(name, value) == value for name, value in _WORDS.items())
    if config.get("tokenizer_class") not in ("BertTokenizer", "BertTokenizerFast") or not sides:
        return load_tokenizer(folder)
    try:
        return PlainTokenizer(
            Tokenizer.from_file(str(folder / "tokenizer.json")), str(config.get("pad_token", "[PAD]"))
        )
    except Exception as error:  # the tokenizers library raises bare Exception for a damaged file
        raise unreadable("tokenizer", folder, error) from error

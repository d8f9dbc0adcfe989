"""Text conditioning: token states for cross-attention and a sentence vector, from a frozen transformers encoder.

The bundled encoder is all-MiniLM-L6-v2 in int8; it needs no internet connection.
"""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..devices import usual_defaults
from ..diffusion.denoiser import Condition
from ..errors import explain_import_error
from ..schema import whole
from .folders import PRETRAINED, SAFE, check_folder, weight_file
from .weights import has_variant, load_weights, resolve_folder, save_int8

BUNDLED_ENCODER = PRETRAINED / "text-encoder"
INT8_FILE = "model.int8.safetensors"
MOST_TOKENS = 4096  # of a prompt
VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)


@usual_defaults()
def load_text_encoder(
    folder: str | os.PathLike, dtype: torch.dtype | None = None, variant: str | None = None
) -> torch.nn.Module:
    """Loads a transformers text encoder in eval mode from a folder with int8 or any of transformers' weights.

    dtype: default float32; variant: of the weight files, default int8, fp16, bf16 or none. Raises ValueError if a file is
    missing or damaged or the folder asks for other code, ImportError if another package breaks transformers' models."""
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ValueError(f"model file {folder / 'config.json'} is missing")
    check_folder(folder)
    variants = [one for one in ("int8", "fp16", "bf16") if has_variant(folder, one)]
    variant = variant or next(iter(variants), None)
    file = weight_file(folder, (variant,), True, ("model",))
    try:
        from transformers import AutoConfig, AutoModelForTextEncoding
        from transformers.initialization import no_init_weights  # not a documented API; checked with 5.24
        from transformers.utils.logging import disable_progress_bar

        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        if variant != "int8":
            disable_progress_bar()
            options = {"dtype": dtype or torch.float32, "variant": variant}
            return AutoModelForTextEncoding.from_pretrained(folder, **options, **SAFE).eval()
        with no_init_weights():
            encoder = AutoModelForTextEncoding.from_config(config, trust_remote_code=False)
    except Exception as error:  # configurations of transformers raise many kinds for values that do not fit
        raise _loading_error("text encoder", folder, error) from error
    return load_weights(encoder, file).to(dtype or torch.float32).eval()


def load_tokenizer(folder: str | os.PathLike) -> Any:
    """Loads the tokenizer of a folder. Raises the errors of `load_text_encoder`."""
    folder = Path(folder)
    check_folder(folder, has_weights=False)
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise ValueError(f"model file {folder / VOCABULARIES[0]} is missing, and so are {', '.join(VOCABULARIES[1:])}")
    if not (folder / "tokenizer_config.json").is_file():
        raise ValueError(f"model file {folder / 'tokenizer_config.json'} is missing")
    try:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception for a damaged file
        raise _loading_error("tokenizer", folder, error) from error


def _loading_error(part: str, folder: str | os.PathLike, error: Exception) -> Exception:
    explained = explain_import_error(error)
    return explained if isinstance(explained, ImportError) else unreadable(part, folder, error)


def unreadable(part: str, folder: str | os.PathLike, error: Exception) -> ValueError:
    """Returns the error, of one line, of a part that could not be read from its folder."""
    return ValueError(f"{part} in {folder} could not be read: {' '.join(str(error).split())[:200]}")


def check_vocabulary(tokenizer: Any, rows: int) -> None:
    """Raises ValueError if a tokenizer has no words, or words that are not in a text encoder's table of so many rows."""
    numbers = tokenizer.get_vocab().values()
    if max(numbers, default=0) >= rows:
        raise ValueError(
            f"the tokenizer numbers its words up to {max(numbers)}, the text encoder's table has {rows} rows"
        )
    if len(numbers) <= len(set(tokenizer.all_special_ids)):
        raise ValueError("the tokenizer has no words: its vocabulary is empty or of another tokenizer")


class TextConditioner:
    """Encodes prompts as Condition(tokens, token_mask, pooled), padded to `max_tokens`, so that shapes stay fixed.

    Raises ValueError if the tokenizer is not the encoder's, or the encoder does not take so many tokens."""

    def __init__(self, encoder: torch.nn.Module, tokenizer: Any, max_tokens: int = 32):
        check_vocabulary(tokenizer, encoder.get_input_embeddings().num_embeddings)
        positions = getattr(encoder.config, "max_position_embeddings", None) or MOST_TOKENS
        whole(1, min(positions, MOST_TOKENS))(max_tokens, "max_tokens")
        self.encoder = encoder.requires_grad_(False).eval()
        self.tokenizer, self.max_tokens = tokenizer, max_tokens

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike = BUNDLED_ENCODER, max_tokens: int = 32) -> "TextConditioner":
        """Loads the bundled encoder, or any transformers text encoder by folder or hub id, see `load_text_encoder`."""
        folder = resolve_folder(name)
        return cls(load_text_encoder(folder), load_tokenizer(folder), max_tokens)

    def save_int8(self, folder: str | os.PathLike) -> None:
        """Writes encoder (int8) and tokenizer as a folder that `from_pretrained` reads."""
        self.encoder.config.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        save_int8(self.encoder.state_dict(), Path(folder) / INT8_FILE)

    def to(self, device: torch.device | str) -> "TextConditioner":
        """Moves the encoder to a device."""
        self.encoder.to(device)
        return self

    @usual_defaults()
    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], device: torch.device | str | None = None) -> Condition:
        """Returns last hidden states [batch, max_tokens, dim] and `sentence_vector`s [batch, dim] as a Condition.

        Both have the encoder's dtype, float32 unless it was cast. device: of an encoder that is offloaded elsewhere.
        Prompts longer than `max_tokens` are cut, with a UserWarning."""
        device = next(self.encoder.parameters()).device if device is None else torch.device(device)
        encoded = self.number_words(prompts).to(device)
        return self.encode_words(encoded["input_ids"], encoded["attention_mask"])

    def encode_words(self, input_ids: Tensor, attention_mask: Tensor) -> Condition:
        """Returns the Condition of numbered words, both [batch, max_tokens] on the encoder's device."""
        with torch.autocast(input_ids.device.type, enabled=False):
            tokens = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        pooled = sentence_vector(tokens, attention_mask)
        return Condition(tokens=tokens, token_mask=attention_mask.bool(), pooled=pooled)

    def number_words(self, prompts: Sequence[str]) -> Any:
        """Returns `input_ids` and `attention_mask` of prompts, [batch, max_tokens]; warns as a call does."""
        prompts, options = list(prompts), {"padding": "max_length", "max_length": self.max_tokens}
        whole = self.tokenizer(prompts, **options, truncation=False, verbose=False)
        if all(len(ids) == self.max_tokens for ids in whole["input_ids"]):
            return whole.convert_to_tensors("pt")
        self.warn_of_cuts(prompts)
        return self.tokenizer(prompts, **options, truncation=True, return_tensors="pt")

    def warn_of_cuts(self, prompts: list[str]) -> None:
        """Gives a UserWarning for each prompt that is longer than `max_tokens`."""
        counts = [len(ids) for ids in self.tokenizer(prompts, padding=False, truncation=False, verbose=False).input_ids]
        for prompt, count in zip(prompts, counts, strict=True):
            if count > self.max_tokens:
                shown = prompt if len(prompt) <= 40 else prompt[:37] + "..."
                cut = f"its last {count - self.max_tokens} are cut ({1 - self.max_tokens / count:.0%} of it)"
                limit = f"has {count} tokens, the text encoder takes {self.max_tokens}"
                warnings.warn(f"prompt {shown!r} {limit}: {cut}", stacklevel=4)


def sentence_vector(tokens: Tensor, mask: Tensor) -> Tensor:
    """Returns the unit-length mean of real token states: [batch, token, dim], mask [batch, token] -> [batch, dim]."""
    weight = mask[..., None].to(tokens.dtype)
    return torch.nn.functional.normalize((tokens * weight).sum(1) / weight.sum(1).clamp_min(1), dim=-1)

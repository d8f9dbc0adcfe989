"""Words -> Condition: token states for cross-attention and one sentence vector, from a frozen transformers encoder.

The bundled encoder is all-MiniLM-L6-v2, stored in int8 beside the package; it needs no network.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..diffusion.denoiser import Condition
from .weights import PRETRAINED, load_weights, resolve_folder, save_int8

BUNDLED_ENCODER = PRETRAINED / "text-encoder"
INT8_FILE = "model.int8.safetensors"


def load_text_encoder(folder: str | os.PathLike) -> torch.nn.Module:
    """A transformers text encoder in eval mode, float32, from a folder with int8 or any of transformers' own weights.

    ValueError names a missing or damaged file; ImportError says what to do about a broken torchaudio.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ValueError(f"model file {folder / 'config.json'} is missing")
    try:
        from transformers import AutoConfig, AutoModelForTextEncoding
        from transformers.initialization import no_init_weights
        from transformers.utils.logging import disable_progress_bar

        config = AutoConfig.from_pretrained(folder)
        if not (folder / INT8_FILE).is_file():
            disable_progress_bar()
            return AutoModelForTextEncoding.from_pretrained(folder, dtype=torch.float32).eval()
        with no_init_weights():
            encoder = AutoModelForTextEncoding.from_config(config)
    except (ImportError, OSError, RuntimeError) as error:
        raise explained(error) from error
    return load_weights(encoder, folder / INT8_FILE).eval()


def load_tokenizer(folder: str | os.PathLike) -> Any:
    """The tokenizer of a folder. ValueError names a missing or damaged file."""
    folder = Path(folder)
    try:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(folder)
    except (ImportError, RuntimeError) as error:
        raise explained(error) from error
    except Exception as error:  # the tokenizers library raises bare Exception for a damaged file
        raise ValueError(
            f"tokenizer in {folder} is missing or damaged: {' '.join(str(error).split())[:200]}"
        ) from error


def explained(error: BaseException) -> Exception:
    """The same error, or the one line that helps: torchaudio built for another torch breaks transformers' models."""
    seen: BaseException | None = error
    while seen is not None:
        if "torchaudio" in str(seen):
            return ImportError(
                "the installed torchaudio does not fit this torch and stops transformers from loading models: "
                "run `pip uninstall torchaudio` (audiocm does not need it) or install the torchaudio build of this torch"
            )
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, OSError) and error.filename:
        return ValueError(f"{error.filename}: {error.strerror}")
    if isinstance(error, OSError):
        return ValueError(f"text encoder could not be read: {' '.join(str(error).split())[:200]}")
    return error if isinstance(error, Exception) else RuntimeError(str(error))


class TextConditioner:
    """Prompts -> Condition(tokens, token_mask, pooled), always `max_tokens` long so that shapes stay the same."""

    def __init__(self, encoder: torch.nn.Module, tokenizer: Any, max_tokens: int = 32):
        self.encoder = encoder.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike = BUNDLED_ENCODER, max_tokens: int = 32) -> TextConditioner:
        """The bundled encoder, or any transformers text encoder by folder or hub id."""
        folder = resolve_folder(name)
        return cls(load_text_encoder(folder), load_tokenizer(folder), max_tokens)

    def save_int8(self, folder: str | os.PathLike) -> None:
        """Write encoder (int8) and tokenizer as a folder that `from_pretrained` reads."""
        self.encoder.config.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        save_int8(self.encoder.state_dict(), Path(folder) / INT8_FILE)

    def to(self, device: torch.device | str) -> TextConditioner:
        """Move the encoder."""
        self.encoder.to(device)
        return self

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Condition:
        """tokens [batch, max_tokens, dim] = last hidden states, pooled [batch, dim] = their normalised mean; float32.

        A prompt longer than the encoder takes is cut, with a UserWarning that says how much.
        """
        prompts = list(prompts)
        self._warn_of_cuts(prompts)
        words = self.tokenizer(
            prompts, padding="max_length", truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        device = next(self.encoder.parameters()).device
        mask = words["attention_mask"].to(device)
        with torch.autocast(device.type, enabled=False):
            tokens = self.encoder(input_ids=words["input_ids"].to(device), attention_mask=mask).last_hidden_state
        return Condition(tokens=tokens, token_mask=mask.bool(), pooled=sentence_vector(tokens, mask))

    def _warn_of_cuts(self, prompts: list[str]) -> None:
        counts = [len(ids) for ids in self.tokenizer(prompts, padding=False, truncation=False, verbose=False).input_ids]
        for prompt, count in zip(prompts, counts, strict=True):
            if count > self.max_tokens:
                shown = prompt if len(prompt) <= 40 else prompt[:37] + "..."
                warnings.warn(
                    f"prompt {shown!r} has {count} tokens, the text encoder takes {self.max_tokens}: "
                    f"its last {count - self.max_tokens} are cut ({1 - self.max_tokens / count:.0%} of it)",
                    stacklevel=3,
                )


def sentence_vector(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean of the real token states at unit length: [batch, token, dim], [batch, token] -> [batch, dim]."""
    weight = mask[..., None].to(tokens.dtype)
    return torch.nn.functional.normalize((tokens * weight).sum(1) / weight.sum(1).clamp_min(1), dim=-1)

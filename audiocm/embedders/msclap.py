"""Microsoft's CLAP from a user's weight file: "CLAP_weights_2023.pth" (HTSAT and GPT-2) or "CLAP_weights_2022.pth"
(Cnn14 and BERT). Elizalde et al. 2023 (arXiv 2206.04769, 2309.05767).

The files hold no tokenizer; it is that of gpt2 (2023) or bert-base-uncased (2022), from a folder or hub id that the user
names. Embeddings are those of the package msclap, which are not normalised to length 1.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig, BertModel, ClapAudioConfig, ClapAudioModel, GPT2Config, GPT2Model

from ..audio.spectral import mel_filters
from ..files import content_digest
from ..models.text_encoder import load_tokenizer
from ..models.weights import resolve_folder
from .checkpoints import load_strictly, read_weights
from .clap import ClapScorer
from .laion_clap import rename_keys
from .layers import magnitude_frames
from .panns import _Cnn14

RATE, N_FFT, HOP = 44100, 1024, 320
END = "<|endoftext|>"
# version -> seconds of a clip, tokens of a text, and the sample rate of its mel filters (2023: not that of its sound)
SETTINGS = {"2022": (5, 100, 44100), "2023": (7, 77, 32000)}


class _Projection(nn.Module):
    """Two linear layers with a residual and a norm, [clip, width] to [clip, dim]."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(width, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.layer_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        first = self.linear1(x)
        return self.layer_norm(first + self.linear2(F.gelu(first)))


class _Tower(nn.Module):
    """An encoder and its projection, under the names of the file."""

    def __init__(self, base: nn.Module, width: int, dim: int) -> None:
        super().__init__()
        self.base, self.projection = base, _Projection(width, dim)


def _depth(state: dict[str, Tensor], prefix: str) -> int:
    """Returns how many layers are named `prefix`.0, `prefix`.1 ..."""
    return len({key[len(prefix) + 1 :].split(".")[0] for key in state if key.startswith(f"{prefix}.")})


def _htsat(state: dict[str, Tensor]) -> ClapAudioModel:
    """Returns an HTSAT of the sizes of `state`, whose keys are transformers'."""
    width = state["base.audio_encoder.patch_embed.proj.weight"].shape[0]
    depths = [_depth(state, f"base.audio_encoder.layers.{n}.blocks") for n in range(4)]
    heads = [state[f"base.audio_encoder.layers.{n}.blocks.0.attention.self.relative_position_bias_table"].shape[1]
             for n in range(4)]  # fmt: skip
    sizes = {
        "patch_embeds_hidden_size": width,
        "hidden_size": width * 8,
        "depths": depths,
        "num_attention_heads": heads,
    }
    return ClapAudioModel(ClapAudioConfig(**sizes, enable_fusion=False, fusion_type=None))


def _words(state: dict[str, Tensor]) -> nn.Module:
    """Returns a GPT-2 or BERT of the sizes of `state`."""
    if "base.wte.weight" in state:
        vocabulary, width = state["base.wte.weight"].shape
        positions = state["base.wpe.weight"].shape[0]
        depth = _depth(state, "base.h")
        return GPT2Model(
            GPT2Config(vocab_size=vocabulary, n_positions=positions, n_embd=width, n_layer=depth, n_head=width // 64)
        )
    vocabulary, width = state["base.embeddings.word_embeddings.weight"].shape
    inner = state["base.encoder.layer.0.intermediate.dense.weight"].shape[0]
    depth = _depth(state, "base.encoder.layer")
    return BertModel(
        BertConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=width // 64,
            intermediate_size=inner,
        ),
        add_pooling_layer=False,
    )


class MsClap:
    """Both towers of one file. `version` is "2022" or "2023".

    Raises ValueError if the file is missing or holds another model."""

    def __init__(self, file: str | Path, device: str = "cpu") -> None:
        state, self.data = read_weights(file)
        state = {key.removeprefix("module."): value for key, value in state.items()}
        parts = {name: {k[len(name) + 1 :]: v for k, v in state.items() if k.startswith(f"{name}.")}
                 for name in ("audio_encoder", "caption_encoder")}  # fmt: skip
        sound, words = parts["audio_encoder"], parts["caption_encoder"]
        self.version = "2023" if any(key.startswith("base.htsat.") for key in sound) else "2022"
        try:
            if self.version == "2023":
                renamed = {key.replace("base.htsat.", "base.audio_encoder."): value for key, value in sound.items()}
                sound = rename_htsat(renamed)
                base, fixed = _htsat(sound), ("relative_position_index", "attn_mask")
            else:
                base, fixed = _Cnn14(len(sound["base.fc_audioset.bias"])), ()
            dim, width = sound["projection.linear1.weight"].shape
            audio_tower = _Tower(base, width, dim)
            text_tower = _Tower(_words(words), words["projection.linear1.weight"].shape[1], dim)
        except (KeyError, IndexError) as error:
            raise ValueError(f"{file}: not a CLAP of Microsoft's of 2022 or 2023 ({error} is missing)") from error
        self.audio = load_strictly(audio_tower, sound, file, fixed).to(device)
        self.text = load_strictly(text_tower, words, file, ("position_ids", "token_type_ids")).to(device)
        self.device = device
        self.seconds, self.words, filter_rate = SETTINGS[self.version]
        self._window = torch.hann_window(N_FFT)
        self._filters = mel_filters(filter_rate, N_FFT, 64, 50, 14000).T

    def cut(self, wav: np.ndarray) -> np.ndarray:
        """Repeats a short wav [sample] up to the seconds of a clip, or cuts as many out of a long one at a random place,
        drawn with the same seed for every clip."""
        size = self.seconds * RATE
        if len(wav) <= size:
            return np.tile(wav, -(-size // len(wav)))[:size]
        start = random.Random(0).randrange(len(wav) - size)
        return wav[start : start + size]

    def log_mel(self, wav: np.ndarray) -> Tensor:
        """Computes decibels of the mel spectrogram, [frame, 64], of wav [sample] at 44.1 kHz."""
        wav = torch.from_numpy(np.ascontiguousarray(wav)).float()
        wav = F.pad(wav[None], (N_FFT // 2, N_FFT // 2), mode="reflect")[0]
        power = magnitude_frames(wav, N_FFT, HOP, self._window, False).square()
        return 10 * (power @ self._filters).clamp_min(1e-10).log10()

    @torch.inference_mode()
    def embed_audio(self, wavs: Sequence[np.ndarray]) -> np.ndarray:
        """Returns embeddings [clip, 1024] of wavs [sample] at 44.1 kHz."""
        embeddings = []
        for wav in wavs:
            mel = self.log_mel(self.cut(wav))[None].to(self.device)
            features = (
                self.audio.base(mel)[0] if self.version == "2022" else self.audio.base(mel[:, None]).pooler_output
            )
            embeddings.append(self.audio.projection(features).cpu())
        return torch.cat(embeddings).numpy()

    @torch.inference_mode()
    def embed_tokens(self, tokens: dict[str, Tensor]) -> Tensor:
        """Returns embeddings [text, 1024] of a tokenizer's padded arrays [text, token]."""
        tokens = {key: value.to(self.device) for key, value in tokens.items()}
        states, ids = self.text.base(**tokens).last_hidden_state, tokens["input_ids"]
        at = (
            (ids != 0).sum(dim=1) - 1
            if isinstance(self.text.base, GPT2Model)
            else torch.zeros(len(ids), dtype=torch.long)
        )
        return self.text.projection(states[torch.arange(len(ids)), at.cpu()]).cpu()

    def tokens(self, tokenizer: Any, texts: Sequence[str]) -> dict[str, Tensor]:
        """Returns padded ids and masks [text, token] of texts; one too long loses its last words."""
        if self.version == "2022":
            options = {"padding": True, "truncation": True, "max_length": self.words, "return_tensors": "pt"}
            return dict(tokenizer(list(texts), **options))
        ids = [tokenizer(f"{text} {END}")["input_ids"] for text in texts]
        ids = [one if len(one) <= self.words else one[: self.words - 1] + one[-1:] for one in ids]
        longest = max(map(len, ids))
        mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids])
        return {"input_ids": torch.tensor([one + [0] * (longest - len(one)) for one in ids]), "attention_mask": mask}


def rename_htsat(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames the keys of an HTSAT under "audio_encoder" to transformers' and splits its joint qkv matrices."""
    marked = {key.replace("audio_encoder", "audio_branch"): value for key, value in state.items()}
    kept = {key: value for key, value in state.items() if "projection" in key}
    renamed = rename_keys({key: value for key, value in marked.items() if key not in kept})
    return {key.replace("audio_model.", ""): value for key, value in renamed.items()} | kept


def load_msclap(file: str | Path, tokenizer: str | None = None, device: str = "cpu") -> ClapScorer:
    """Loads Microsoft's CLAP as a scorer; without a `tokenizer` (a folder or hub id) it embeds audio only.

    Raises ValueError if the file is missing or another model's, or if the tokenizer does not fit the file."""
    model, words, vocabulary = MsClap(file, device), None, []
    if tokenizer is not None:
        words = load_tokenizer(resolve_folder(tokenizer))
        size = model.text.base.config.vocab_size
        if len(words) != size or (model.version == "2023") != (END in words.get_vocab()):
            need = "gpt2" if model.version == "2023" else "bert-base-uncased"
            raise ValueError(
                f"--tokenizer {tokenizer} has {len(words)} words, the file {size}: it needs that of {need}"
            )
        vocabulary = [str(sorted(words.get_vocab().items()))]

    def embed_text(texts: Sequence[str]) -> np.ndarray:
        if words is None:
            raise ValueError("this CLAP has no tokenizer: name one with --tokenizer (a folder or hub id)")
        batches = (texts[start : start + 64] for start in range(0, len(texts), 64))
        return torch.cat([model.embed_tokens(model.tokens(words, batch)) for batch in batches]).numpy()

    clip = f"cut or repeated to {model.seconds} s"
    digest = content_digest(model.data, "msclap 1024/320", *vocabulary)
    return ClapScorer(model.embed_audio, embed_text, f"msclap-{model.version}", RATE, digest, clip)

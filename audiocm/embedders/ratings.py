"""Judges that rate a clip: UTMOS and Audiobox Aesthetics, from a user's weight file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..files import content_digest, read_text
from .checkpoints import load_strictly, load_without_code, read_weights
from .fairseq_speech import FRAME, RECEPTIVE, hidden_states, load_speech_encoder, split_prefix


class Utmos:
    """UTMOS22's strong learner: the predicted naturalness of speech at 16 kHz, about 1 to 5. Saeki et al. 2022.

    The file is SpeechMOS's "utmos22_strong_step7459_v1.pt" or UTMOS-PyTorch's "utmos_state_dict.pt" (the same weights).
    As there, the domain is the first one and the listener number 288. Raises ValueError for another file."""

    name, sample_rate, titles = "utmos", 16000, ("UTMOS",)

    def __init__(self, file: str | Path, device: str = "cpu") -> None:
        state, data = read_weights(file)
        if "output_layers.0.judge_embedding.weight" in state:  # the names of the original's Lightning module
            names = {"blstm.": "output_layers.0.decoder_rnn.", "projection.0.": "output_layers.1.net.0."}
            names |= {"projection.2.": "output_layers.1.net.3."}
            parts = {
                ours + key: value
                for ours, theirs in names.items()
                for key, value in split_prefix(state, theirs).items()
            }
            listeners, domains = (
                state["output_layers.0.judge_embedding.weight"],
                "feature_extractors.1.embedding.weight",
            )
            speech = split_prefix(state, "feature_extractors.0.ssl_model.")
            state = parts | {"domain_emb": state[domains][:1], "judge_emb": listeners[288:289]}
        else:
            speech = split_prefix(state, "wav2vec2.")
        try:
            self._given = torch.cat((state["domain_emb"], state["judge_emb"]), dim=1).float().to(device)
            hidden, inner = state["blstm.weight_hh_l0"].shape[1], len(state["projection.0.weight"])
            width = state["blstm.weight_ih_l0"].shape[1]
        except KeyError as error:
            raise ValueError(f"{file}: not UTMOS's strong learner ({error} is missing)") from error
        head = nn.Module()
        head.blstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        head.projection = nn.Sequential(nn.Linear(2 * hidden, inner), nn.ReLU(), nn.Linear(inner, 1))
        self._head = load_strictly(head, state, file).requires_grad_(False).to(device)
        self._speech, self._device = load_speech_encoder(speech, str(file)).to(device), device
        self.digest = content_digest(data, "utmos22 strong, listener 288")

    @torch.inference_mode()
    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns "embedding" [clip, 1], the ratings of wavs [sample], each rated alone."""
        ratings = []
        for wav in wavs:
            wav = torch.from_numpy(np.ascontiguousarray(wav)).float()
            wav = F.pad(wav, (0, max(0, RECEPTIVE - len(wav)))).to(self._device)
            frames = self._speech(wav[None]).last_hidden_state
            frames = torch.cat((frames, self._given.expand(1, frames.shape[1], -1)), dim=2)
            ratings.append(self._head.projection(self._head.blstm(frames)[0]).mean(dim=1)[0] * 2 + 3)
        return {"embedding": torch.stack(ratings).cpu().numpy()}


AXES = {
    "CE": "content enjoyment",
    "CU": "content usefulness",
    "PC": "production complexity",
    "PQ": "production quality",
}


class Aesthetics:
    """Audiobox Aesthetics: four ratings of speech, music or sound at 16 kHz, 1 to 10. Tjandra et al. 2025.

    The file is "checkpoint.pt", or the folder of the hub's copy (config.json and model.safetensors). A clip is rated in
    windows of 10 s, the last one filled up with silence that is masked, and the ratings are averaged by the windows'
    lengths; in float32, where the package may compute in bfloat16. Raises ValueError for another file."""

    name, sample_rate, titles = "aesthetics", 16000, tuple(f"aesthetics {axis}" for axis in AXES)

    def __init__(self, file: str | Path, device: str = "cpu") -> None:
        state, settings, data = _read_aesthetics(Path(file))
        try:
            scale = settings["target_transform"]
            self._scale = torch.tensor([[scale[axis][key] for axis in AXES] for key in ("mean", "std")])
            layers, hidden = settings["proj_num_layer"], settings["proj_ln"]
            self._unit = settings["normalize_embed"]
            self._speech = load_speech_encoder(split_prefix(state, "wavlm_model."), str(file)).to(device)
            width = self._speech.config.hidden_size
        except (KeyError, TypeError) as error:
            raise ValueError(f"{file}: not Audiobox Aesthetics ({error} is missing)") from error
        head = nn.Module()
        head.proj_layer = nn.ModuleDict({axis: _perceptron(width, layers, hidden, settings) for axis in AXES})
        depth = self._speech.config.num_hidden_layers + 1
        head.layer_weights = nn.ParameterDict({axis: nn.Parameter(torch.zeros(depth)) for axis in AXES})
        self._head = load_strictly(head, state, file).requires_grad_(False).to(device)
        self._device = device
        self.digest = content_digest(data, "aesthetics 10 s float32")

    def _rate(self, wav: Tensor) -> Tensor:
        """Returns the ratings [axis] of wav [sample] of at most 10 s."""
        size = 10 * self.sample_rate
        frames = min(-(-len(wav) // FRAME), (size - RECEPTIVE) // FRAME + 1)
        mask = torch.arange(size)[None] < FRAME * (frames - 1) + RECEPTIVE
        padded = F.pad(wav, (0, size - len(wav)))[None].to(self._device)
        states = hidden_states(self._speech, padded, mask.long().to(self._device))[:, 0, :frames]
        ratings = []
        for axis in AXES:
            weights = self._head.layer_weights[axis].softmax(dim=0)
            vector = torch.einsum("lfc,l->c", states, weights) / frames
            vector = F.normalize(vector, dim=0) if self._unit else vector
            ratings.append(self._head.proj_layer[axis](vector[None])[0, 0].cpu())
        return torch.stack(ratings) * self._scale[1] + self._scale[0]

    @torch.inference_mode()
    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns "embedding" [clip, 4], the ratings of wavs [sample] in the order of AXES."""
        ratings = []
        for wav in wavs:
            parts = torch.from_numpy(np.ascontiguousarray(wav)).float().split(10 * self.sample_rate)
            lengths = torch.tensor([float(len(part)) for part in parts])
            each = torch.stack([self._rate(part) for part in parts])
            ratings.append((each * lengths[:, None]).sum(dim=0) / lengths.sum())
        return {"embedding": torch.stack(ratings).numpy()}


def _perceptron(width: int, layers: int, has_norms: bool, settings: dict[str, Any]) -> nn.Sequential:
    """Linear layers with norms, GELU and dropout between them, numbered as in the file."""
    parts: list[nn.Module] = []
    for _ in range(layers - 1):
        parts += [nn.Linear(width, width), *([nn.LayerNorm(width)] if has_norms else []), nn.GELU()]
        parts += [nn.Dropout()] if settings.get("proj_dropout") else []
    return nn.Sequential(*parts, nn.Linear(width, settings.get("output_dim", 1)))


def _read_aesthetics(file: Path) -> tuple[dict[str, Tensor], dict[str, Any], bytes]:
    """Returns weights, settings and bytes of a checkpoint, or of a folder of the hub's form."""
    if file.is_dir():
        state, data = read_weights(file / "model.safetensors")
        text = read_text(file / "config.json", "settings")
        try:
            return state, json.loads(text), data + text.encode()
        except json.JSONDecodeError as error:
            raise ValueError(f"{file / 'config.json'}: not JSON ({error})") from error
    state, data = read_weights(file)
    whole = load_without_code(data) if file.suffix != ".safetensors" else {}
    settings = whole.get("model_cfg", {}) | {"target_transform": whole.get("target_transform")}
    return {key.removeprefix("model."): value for key, value in state.items()}, settings, data

"""Any audio model of transformers as an embedder: `hf:ID@LAYER`, where ID is a folder or a hub id.

Tested are wav2vec 2.0, HuBERT, WavLM, data2vec-audio, AST, Whisper's encoder, EnCodec and DAC; other models with a
feature extractor and hidden states work alike. Code of the model's repository is never run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..files import content_digest, file_digest
from ..models.weights import resolve_folder

CODECS = ("encodec", "dac")
UNUSED = ("masked_spec_embed", "position_ids")  # weights that no embedding depends on
MIN_SECONDS = 0.1  # shorter clips are padded with silence: convolutional front ends need a few hundred samples


def parse_layer(name: str) -> tuple[str, int]:
    """Splits "ID@LAYER" into the id and the layer, which is -1 if there is none. Raises ValueError if it is no number."""
    model, at, layer = name.rpartition("@")
    if not at or Path(name).is_dir():
        return name, -1
    try:
        return model, int(layer)
    except ValueError as error:
        raise ValueError(f"hf:{name}: the layer after @ is a whole number, not {layer!r}") from error


class TransformersEmbedder:
    """The mean over frames of one layer of a transformers audio model, in float32.

    `layer` counts hidden states: 0 is the input of the first block, k the output of block k, and -1 (or the number of
    blocks) the model's own output, after its last normalisation if it has one. Codecs have their latents only. Clips
    of one length share a batch, without padding, so that no clip depends on its neighbours. Models with a window of
    fixed length (AST 10.24 s, Whisper 30 s) see longer clips in windows one after another; the silence that fills up
    a window is left out of the mean, as are AST's two summary tokens.

    Raises ValueError if the model is not an audio model, needs code of its own, lacks weights, or has no such layer."""

    def __init__(self, name: str | Path, layer: int = -1, device: str = "cpu", batch: int = 8) -> None:
        folder = _resolve(name)
        self._front_end, self._model = _load(folder, str(name))
        self._model.eval().requires_grad_(False).to(device)
        self._batch = batch
        config = self._model.config
        self.sample_rate = self._front_end.sampling_rate
        self._window = _window(self._front_end)
        self._codec = config.model_type in CODECS
        depth = None if self._codec else getattr(config, "num_hidden_layers", None)
        depth = getattr(config, "encoder_layers", depth) if config.is_encoder_decoder else depth
        if depth is None and layer != -1:
            raise ValueError(f"hf:{name}@{layer}: this model has no numbered layers, leave the layer out")
        if depth is not None and not -depth - 1 <= layer <= depth:
            raise ValueError(f"hf:{name}@{layer}: the layers are 0 to {depth}, or -{depth + 1} to -1 from the end")
        self._layer = layer if layer == -1 or layer >= 0 else layer + depth + 1
        self._layer = -1 if self._layer == depth else self._layer
        known = Path(name).resolve().name if Path(name).is_dir() else str(name)
        self.name = known if self._layer == -1 else f"{known}@{self._layer}"
        files = (file for file in sorted(folder.glob("*")) if file.suffix in (".safetensors", ".bin"))
        files = [folder / "config.json", folder / "preprocessor_config.json", *files]
        self.digest = content_digest(*map(file_digest, files), f"layer {self._layer}")
        try:
            self.features([np.zeros(1, np.float32)])
        except Exception as error:  # any of the many models that are asked in another way
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"hf:{name}: this model gives no frames of a sound ({reason})") from error

    @torch.inference_mode()
    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns "embedding" [clip, dim] of wavs [sample] at `sample_rate`."""
        least = int(MIN_SECONDS * self.sample_rate)
        wavs = [np.pad(np.asarray(wav, np.float32), (0, max(0, least - len(wav)))) for wav in wavs]
        parts = [(i, part) for i, wav in enumerate(wavs) for part in self._cut(wav)]
        sums, counts = [0.0] * len(wavs), [0] * len(wavs)
        for group in self._batches(parts):
            for (i, _), frames in zip(group, self._frames([part for _, part in group]), strict=True):
                sums[i], counts[i] = sums[i] + frames.double().sum(dim=0), counts[i] + len(frames)
        means = [total / count for total, count in zip(sums, counts, strict=True)]
        return {"embedding": torch.stack(means).float().cpu().numpy()}

    def _cut(self, wav: np.ndarray) -> list[np.ndarray]:
        if self._window is None:
            return [wav]
        return [wav[start : start + self._window] for start in range(0, len(wav), self._window)]

    def _batches(self, parts: list[tuple[int, np.ndarray]]) -> list[list[tuple[int, np.ndarray]]]:
        """Groups parts of one length; with a window all inputs have one length."""
        groups: dict[int, list] = {}
        for part in parts:
            groups.setdefault(len(part[1]) if self._window is None else 0, []).append(part)
        return [group[k : k + self._batch] for group in groups.values() for k in range(0, len(group), self._batch)]

    def _frames(self, wavs: list[np.ndarray]) -> list[Tensor]:
        """Returns the frames [frame, dim] of each of some wavs that fit in one batch."""
        if self._codec:  # its front end only pads
            stacked = torch.from_numpy(np.stack(wavs))[:, None].expand(-1, self._front_end.feature_size, -1)
            return list(_latents(self._model, stacked.to(self._model.device)))
        inputs = self._front_end(wavs, sampling_rate=self.sample_rate, return_tensors="pt").to(self._model.device)
        key = next(key for key in ("input_values", "input_features") if key in inputs)
        mask = None if self._window else inputs.get("attention_mask")
        masked = {} if mask is None else {"attention_mask": mask}
        states = self._model(**{key: inputs[key]}, **masked, output_hidden_states=True)
        state = states.last_hidden_state if self._layer == -1 else states.hidden_states[self._layer]
        if state.ndim != 3 or len(state) != len(wavs):
            raise ValueError(f"states of shape {list(state.shape)}")
        if self._model.config.model_type == "audio-spectrogram-transformer":
            return [_patches_within(state[i, 2:], len(wav), self._model.config) for i, wav in enumerate(wavs)]
        if self._window is not None:  # Whisper
            return [state[i, : -(-len(wav) * state.shape[1] // self._window)] for i, wav in enumerate(wavs)]
        if mask is not None and mask.shape[1] == state.shape[1]:
            return [one[kept.bool()] for one, kept in zip(state, mask, strict=True)]
        return list(state)


def _patches_within(tokens: Tensor, samples: int, config: Any) -> Tensor:
    """Returns those of AST's patch tokens [frequency * time, dim] that begin within the clip's `samples`."""
    times = (config.max_length - config.patch_size) // config.time_stride + 1
    kept = min(times, -(-samples // (160 * config.time_stride)))  # frames of 10 ms at 16 kHz
    return tokens.unflatten(0, (-1, times))[:, :kept].flatten(0, 1)


def _latents(model: Any, wavs: Tensor) -> Tensor:
    """Returns the latents [clip, frame, dim] of wavs [clip, channel, sample], in the chunks that the codec encodes."""
    config = model.config
    if config.model_type == "dac":
        return model.encoder(F.pad(wavs, (0, -wavs.shape[-1] % config.hop_length))).transpose(1, 2)
    latents, chunk = [], config.chunk_length or wavs.shape[-1]
    for start in range(0, wavs.shape[-1], config.chunk_stride or chunk):
        part = wavs[..., start : start + chunk]
        if config.normalize:
            part = part / (part.mean(dim=1, keepdim=True).square().mean(dim=-1, keepdim=True).sqrt() + 1e-8)
        latents.append(model.encoder(part).transpose(1, 2))
    return torch.cat(latents, dim=1)


def _window(front_end: Any) -> int | None:
    """Returns the samples that fit in the front end's fixed window, or None if it has none."""
    if type(front_end).__name__ == "WhisperFeatureExtractor":
        return front_end.n_samples
    if type(front_end).__name__ == "ASTFeatureExtractor":
        return front_end.max_length * 160
    return None


def _resolve(name: str | Path) -> Path:
    """Returns the folder of a model; of a hub id only what is read: settings, and weights in one format."""
    folder = resolve_folder(name, allow_patterns=["*.json", "*.safetensors"])
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        folder = resolve_folder(name, allow_patterns=["*.json", "pytorch_model*.bin"])
    return folder


def _load(folder: Path, name: str) -> tuple[Any, Any]:
    """Loads front end and model (of an encoder and decoder: the encoder) in float32, without running foreign code."""
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

    local = {"local_files_only": True}
    for file, what in (("config.json", "model"), ("preprocessor_config.json", "feature extractor")):
        if not (folder / file).is_file():
            raise ValueError(f"hf:{name}: holds no {what} of transformers ({file} is missing)")
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **local)
        front_end = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False, **local)
        if not hasattr(front_end, "sampling_rate"):
            raise ValueError("it is not a model of sound")
        if config.model_type in ("clap", "clap_audio_model"):
            raise ValueError("name a CLAP by its folder or id alone, without hf:")
        options = {"config": config, "dtype": torch.float32, "output_loading_info": True} | local
        options |= {"weights_only": True}  # of a pickled file: tensors alone are read
        safe = any(folder.glob("*.safetensors"))
        if not safe and not any(folder.glob("pytorch_model*.bin")):
            raise ValueError("it holds no weights, *.safetensors or pytorch_model*.bin")
        model, report = AutoModel.from_pretrained(folder, trust_remote_code=False, use_safetensors=safe, **options)
    except (ImportError, MemoryError):  # a broken installation is explained by the caller
        raise
    except Exception as error:  # transformers and safetensors raise bare and many kinds for damaged files
        text = " ".join(str(error).split())
        if "trust_remote_code" in text or "custom code" in text:
            text = "it needs code of its own repository, which audiocm does not run"
        raise ValueError(f"hf:{name}: {text[:300]}") from error
    if missing := [key for key in report["missing_keys"] if not key.endswith(UNUSED)]:
        raise ValueError(f"hf:{name}: {len(missing)} weights are missing (first: {sorted(missing)[0]})")
    return front_end, model.get_encoder() if config.is_encoder_decoder else model

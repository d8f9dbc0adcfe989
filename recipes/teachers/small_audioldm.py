"""A small AudioLDM, untrained: true classes of diffusers and transformers, and the losses of its parts.

Text: the weights of the bundled MiniLM in a ClapTextModelWithProjection (RoBERTa's layers are BERT's), frozen. VAE and vocoder
are AutoencoderKL and SpeechT5HifiGan, because audiocm's codec has another interface (1-D latents, complex spectra) and cannot
stand behind them; trained without an adversary they bound the quality of teacher and students alike.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from audiocm.audio.io import read_wave
from audiocm.audio.spectral import FLOOR, LogMel
from audiocm.codec.losses import SpectralDistance
from audiocm.data.batches import StepSeededBatches
from audiocm.files import read_json_lines
from audiocm.models.text_encoder import BUNDLED_ENCODER, load_text_encoder, load_tokenizer
from audiocm.teachers.audioldm import PEAK, AudioLDM
from recipes.teachers.sounds import AUDIBLE, RATE
from recipes.teachers.tiny import build_pipeline

QUIETEST = 0.03  # of the peak of a sound: the least peak of a part that the codec is trained on


def clap_text_encoder() -> nn.Module:
    """Returns the bundled MiniLM as a ClapTextModelWithProjection.

    RoBERTa's layers are BERT's; its position p + 1 is BERT's p, since the padding token is 0. Pooler and projection are
    the fixed tanh(0.3 x) of the first state and its positive and negative part, of which nothing is lost."""
    from transformers import ClapTextConfig, ClapTextModelWithProjection

    bert = load_text_encoder(BUNDLED_ENCODER)
    width, config = bert.config.hidden_size, bert.config
    same = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act")
    settings = {name: getattr(config, name) for name in (*same, "layer_norm_eps", "type_vocab_size")}
    positions = config.max_position_embeddings + 1
    model = ClapTextModelWithProjection(
        ClapTextConfig(**settings, max_position_embeddings=positions, pad_token_id=0, projection_dim=2 * width)
    )
    state, own = bert.state_dict(), model.state_dict()
    eye = torch.eye(width)
    for name, value in own.items():
        inner = name.removeprefix("text_model.")
        if inner == "embeddings.position_embeddings.weight":
            value.zero_()[1:] = state[inner]
        elif inner in state and not inner.startswith("pooler") and inner.endswith(("weight", "bias")):
            value.copy_(state[inner])
        elif inner.endswith("bias"):
            value.zero_()
    own["text_model.pooler.dense.weight"].copy_(0.3 * eye)
    own["text_projection.linear1.weight"].copy_(torch.cat([eye, -eye]))
    own["text_projection.linear2.weight"].copy_(torch.eye(2 * width))
    model.load_state_dict(own)
    return model.eval()


def small_pipeline() -> Any:
    """Returns an untrained AudioLDMPipeline: a U-Net of 38 M parameters on latents [8, frame, 16]."""
    import diffusers
    import transformers

    widths = (96, 192, 288)
    text_encoder = clap_text_encoder()
    unet = diffusers.UNet2DConditionModel(
        sample_size=128,
        in_channels=8,
        out_channels=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=widths,
        layers_per_block=2,
        attention_head_dim=8,
        cross_attention_dim=widths,
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=text_encoder.config.projection_dim,
        class_embeddings_concat=True,
    )
    vae = diffusers.AutoencoderKL(
        in_channels=1,
        out_channels=1,
        latent_channels=8,
        block_out_channels=(64, 128, 192),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    )
    vocoder = transformers.SpeechT5HifiGan(
        transformers.SpeechT5HifiGanConfig(
            model_in_dim=64,
            sampling_rate=RATE,
            upsample_initial_channel=512,
            upsample_rates=[5, 4, 2, 2, 2],
            upsample_kernel_sizes=[16, 16, 8, 4, 4],
            normalize_before=False,
        )
    )
    reset_vocoder(vocoder)
    tokenizer = load_tokenizer(BUNDLED_ENCODER)
    tokenizer.model_max_length = 64
    scheduler = build_pipeline().scheduler
    parts = {"vae": vae, "text_encoder": text_encoder, "tokenizer": tokenizer, "unet": unet}
    return diffusers.AudioLDMPipeline(**parts, scheduler=scheduler, vocoder=vocoder)


def reset_vocoder(vocoder: nn.Module) -> None:
    """Gives the convolutions of a vocoder PyTorch's own first weights: with those of transformers it makes 1e-9."""
    for module in vocoder.modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            module.reset_parameters()


class Crops(StepSeededBatches):
    """Batches (waveforms [batch, sample], log mels [batch, 1, frame, bin]) of parts of sounds, which are repeated.

    A part keeps its level in a sound whose peak is that of AudioLDM's training, down to QUIETEST of it: quiet parts are
    to be learnt too.
    """

    def __init__(
        self, folder: Path, batch: int, samples: int, device: torch.device, log_mel: Callable[[Tensor], Tensor]
    ):
        super().__init__(0, device, None)
        self.batch, self.samples, self.log_mel = batch, samples, log_mel
        files = [folder / line["file"] for line in read_json_lines(folder / "manifest.jsonl")]
        with ThreadPoolExecutor(8) as pool:
            read = pool.map(lambda file: read_wave(file, RATE), tqdm(files, desc="reading sounds", unit="sound"))
            read = (wav - wav.mean() for wav in read)
            wavs = [wav * (PEAK / peak) for wav in read if (peak := np.abs(wav).max()) > AUDIBLE]
        self.lengths = np.array([len(wav) for wav in wavs])
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.wavs = torch.from_numpy(np.concatenate(wavs)).to(device)

    def __next__(self) -> tuple[Tensor, Tensor]:
        generator = self.step_generator()
        rows = generator.integers(len(self.lengths), size=self.batch)
        first = generator.integers(self.lengths[rows])
        inside = (first[:, None] + np.arange(self.samples)) % self.lengths[rows, None]
        wav = self.wavs[torch.from_numpy(self.starts[rows, None] + inside).to(self.device)]
        wav = wav - wav.mean(1, keepdim=True)
        peak = wav.abs().amax(1, keepdim=True).clamp_min(1e-6)
        level = (peak / PEAK).clamp_min(QUIETEST)  # which `log_mel` takes from each part
        mel = self.log_mel(wav) + level.log()[:, :, None, None]
        return wav * (PEAK * level / peak), mel.clamp_min(math.log(FLOOR))


class VAELoss:
    """L1 of log mels at full and reduced resolution and a small KL divergence; batches are those of `Crops`."""

    def loss(self, student: Any, target: object, x: object, cond: Tensor, progress: object) -> Tensor:
        posterior = student.encode(cond).latent_dist
        error = student.decode(posterior.sample()).sample - cond
        return (
            error.abs().mean()
            + F.avg_pool2d(error, 4).abs().mean()
            + 1e-2 * posterior.kl().mean() / posterior.mean[0].numel()
        )


@dataclass
class HifiGanLoss:
    """Multi-resolution STFT distance and L1 of log mels; there is no adversary. Batches are those of `Crops`.

    The second half of a batch is made from mels that went through the frozen `vae`."""

    vae: nn.Module
    distance: SpectralDistance
    mel: LogMel

    def loss(self, student: nn.Module, target: object, x: Tensor, cond: Tensor, progress: object) -> Tensor:
        half = len(x) // 2
        with torch.no_grad():
            again = self.vae.decode(self.vae.encode(cond[half:]).latent_dist.mode()).sample
        made = student(torch.cat([cond[:half], again])[:, 0])
        return self.distance(made, x) + (self.mel(made) - self.mel(x)).abs().mean()


class NoiseLoss:
    """Mean square of the error of the predicted noise (Ho et al. 2020); dropped conditions are that of ""."""

    def __init__(self, alphas: Tensor, null: Tensor):
        self.alphas, self.null = alphas, null

    def loss(self, student: nn.Module, target: object, x: Tensor, cond: Any, progress: object) -> Tensor:
        t = torch.randint(len(self.alphas), (len(x),), device=x.device)
        noise, level = torch.randn_like(x), self.alphas[t].view(-1, 1, 1, 1)
        words = torch.where(cond.null[:, None], self.null, cond.pooled)
        made = AudioLDM.predict(student, level.sqrt() * x + (1 - level).sqrt() * noise, t, type(cond)(pooled=words))
        return F.mse_loss(made.float(), noise)

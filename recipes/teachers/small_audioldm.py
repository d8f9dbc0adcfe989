"""A small AudioLDM, untrained: true classes of diffusers and transformers, and the losses of its parts.

Text: the weights of the bundled MiniLM in a ClapTextModelWithProjection (RoBERTa's layers are BERT's), frozen. VAE and vocoder
are AutoencoderKL and SpeechT5HifiGan, because audiocm's codec has another interface (1-D latents, complex spectra) and cannot
stand behind them; without an adversary they bound the quality of teacher and students alike.
"""

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
from audiocm.codec.losses import SpectralDistance
from audiocm.data.batches import StepSeededBatches
from audiocm.files import read_json_lines
from audiocm.models.text_encoder import BUNDLED_ENCODER, load_text_encoder, load_tokenizer
from audiocm.teachers.audioldm import PEAK, AudioLDM
from recipes.teachers.sounds import AUDIBLE, RATE
from recipes.teachers.tiny import build_pipeline


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
            upsample_initial_channel=256,
            upsample_rates=[5, 4, 2, 2, 2],
            upsample_kernel_sizes=[16, 16, 8, 4, 4],
            normalize_before=False,
        )
    )
    tokenizer = load_tokenizer(BUNDLED_ENCODER)
    tokenizer.model_max_length = 64
    scheduler = build_pipeline().scheduler
    parts = {"vae": vae, "text_encoder": text_encoder, "tokenizer": tokenizer, "unet": unet}
    return diffusers.AudioLDMPipeline(**parts, scheduler=scheduler, vocoder=vocoder)


class Crops(StepSeededBatches):
    """Batches of waveforms [batch, sample] of one length at the level of AudioLDM's training; sounds are repeated."""

    def __init__(self, folder: Path, batch: int, samples: int, device: torch.device):
        super().__init__(0, device, None)
        self.batch, self.samples = batch, samples
        files = [folder / line["file"] for line in read_json_lines(folder / "manifest.jsonl")]
        with ThreadPoolExecutor(8) as pool:
            read = pool.map(lambda file: read_wave(file, RATE), tqdm(files, desc="reading sounds", unit="sound"))
            wavs = [wav for wav in read if np.abs(wav).max() > AUDIBLE]
        self.lengths = np.array([len(wav) for wav in wavs])
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.wavs = torch.from_numpy(np.concatenate(wavs)).to(device)

    def __next__(self) -> tuple[Tensor, None]:
        generator = self.step_generator()
        rows = generator.integers(len(self.lengths), size=self.batch)
        first = generator.integers(self.lengths[rows])
        inside = (first[:, None] + np.arange(self.samples)) % self.lengths[rows, None]
        wav = self.wavs[torch.from_numpy(self.starts[rows, None] + inside).to(self.device)]
        wav = wav - wav.mean(1, keepdim=True)
        return wav * (PEAK / wav.abs().amax(1, keepdim=True).clamp_min(1e-3)), None


@dataclass
class VAELoss:
    """L1 of log mels at full and reduced resolution and a small KL divergence."""

    adapter: AudioLDM

    def loss(self, student: Any, target: object, x: Tensor, cond: object, progress: object) -> Tensor:
        mel = self.adapter.log_mel(x)
        posterior = student.encode(mel).latent_dist
        error = student.decode(posterior.sample()).sample - mel
        return (
            error.abs().mean()
            + F.avg_pool2d(error, 4).abs().mean()
            + 1e-2 * posterior.kl().mean() / posterior.mean[0].numel()
        )


@dataclass
class HifiGanLoss:
    """Multi-resolution STFT distance; there is no adversary."""

    adapter: AudioLDM
    distance: SpectralDistance

    def loss(self, student: nn.Module, target: object, x: Tensor, cond: object, progress: object) -> Tensor:
        made = student(self.adapter.log_mel(x)[:, 0])
        return self.distance(made[:, : x.shape[1]], x[:, : made.shape[1]])


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

"""The 1-D latent transformer of the bundled models; teacher and one-step student are both instances of this class.

It follows the network contract ``net(x_t, t, s, cond) -> clean``. Time embedding and preconditioning run in float32,
the trunk in autocast's dtype. Nothing waits for the host and shapes depend on the inputs' shapes only, so a whole step
can be compiled with ``fullgraph=True`` and captured in a CUDA graph; ``torch.func.jvp`` needs the MATH attention.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Self

from ..diffusion.denoiser import Condition, edm_scalings
from ..schema import Rule, flag, interval, number, optional, text, whole
from .configured import Configured, register_to_config
from .layers import FourierFeatures, apply_rotary, rms_norm
from .transformer_jvp import block_jvp
from .weights import StoredWeights

_MIN_TIME = 1e-3  # smaller sigma and s get the embedding of this one, since ln 0 is not finite


class Block(nn.Module):
    """Self-attention, cross-attention to the text and MLP; pre-norm, the first and the last with adaLN modulation."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.cross_q, self.cross_kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.cross_out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.cross_norm = nn.Parameter(torch.ones(width))
        self.qk_norm = nn.Parameter(torch.ones(width // heads))  # shared: only the product of q's and k's scales counts
        self.cross_qk_norm = nn.Parameter(torch.ones(width // heads))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)

    def _attend(self, x: Tensor, rotary: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k = apply_rotary(rms_norm(q, self.qk_norm), rotary), apply_rotary(rms_norm(k, self.qk_norm), rotary)
        mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _cross_attend(self, x: Tensor, text: Tensor, mask: Tensor | None) -> Tensor:
        q = rms_norm(self.cross_q(x).unflatten(-1, (self.heads, -1)), self.cross_qk_norm)
        k, v = self.cross_kv(text).unflatten(-1, (2, self.heads, -1)).unbind(2)
        k = rms_norm(k, self.cross_qk_norm)
        mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask)
        return self.cross_out(mixed.transpose(1, 2).flatten(2))

    def forward(
        self, x: Tensor, modulation: Tensor, rotary: Tensor, mask: Tensor | None, text: Tensor, text_mask: Tensor | None
    ) -> Tensor:
        """Returns the next states [batch, frame, width], the shape of x.

        modulation [batch, 6, width]: shift, scale, gate of the self-attention, then of the MLP. rotary [2, frame, 1,
        channel / 2], see `apply_rotary`. text [batch, token, width]. Masks broadcast to [batch, head, frame, key]."""
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = modulation.unsqueeze(2).unbind(1)
        x = x + gate * self._drop(self._attend(rms_norm(x) * (1 + scale) + shift, rotary, mask))
        x = x + self._drop(self._cross_attend(rms_norm(x, self.cross_norm), text, text_mask))
        hidden = F.gelu(self.up(rms_norm(x) * (1 + mlp_scale) + mlp_shift), approximate="tanh")
        return x + mlp_gate * self._drop(self.down(hidden))

    jvp = block_jvp  # jvp(inputs, tangents), the forward derivative


class TransformerNet(StoredWeights, Configured, nn.Module):
    """Maps latents [batch, channel, frame] at EDM time t = sigma to their clean estimate, zero outside the mask.

    ``guidance_range``: the weights w a guidance-distilled student was trained on (it then takes ``cond.guidance``),
    None for a network that is not conditioned on w. ``target_time``: the network is conditioned on s. Both enter
    through zero-initialised layers, so a student loaded from its teacher equals it at step 0 (ConsistencyTTA, eq. 8).
    ``prior_channels``: number of channels of ``cond.prior``. ``takes_duration``: the network is conditioned on the
    frames that the sound lasts, ``cond.duration``. ``takes_kept``: it is conditioned on the known frames of a sound
    that is edited, ``cond.kept`` and ``cond.kept_mask``, and fills in the others. ``path``: recorded in config.json for
    the pipelines; the preconditioning is EDM's, so "edm" is the only value. Raises ValueError for other paths, and
    unless `width` splits into `heads` of an even number of channels."""

    stored_name = "LatentTransformer"
    config_rules: ClassVar[dict[str, Rule]] = {
        **dict.fromkeys(("channels", "width", "token_width", "pooled_width"), whole(1, 4096)),
        **dict.fromkeys(("depth", "heads"), whole(1, 128)),
        **dict.fromkeys(("target_time", "takes_duration", "takes_kept"), flag),
        "max_frames": whole(1, 16384),
        "prior_channels": whole(0, 4096),
        "guidance_range": optional(interval(0, 100)),
        "sigma_data": number(1e-3, 1e3),
        "dropout": number(0, 1),
        "path": text("edm"),
    }

    @register_to_config
    def __init__(
        self,
        channels: int = 64,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        token_width: int = 384,
        pooled_width: int = 384,
        max_frames: int = 240,
        guidance_range: tuple[float, float] | None = None,
        target_time: bool = False,
        sigma_data: float = 1.0,
        path: str = "edm",
        prior_channels: int = 0,
        dropout: float = 0.0,
        takes_duration: bool = False,
        takes_kept: bool = False,
    ):
        super().__init__()
        if path != "edm":
            raise ValueError(f"path must be 'edm', got {path!r}")
        if width % heads or (width // heads) % 2:
            raise ValueError(f"width {width} must split into {heads} heads of an even number of channels")
        self.max_frames, self.sigma_data, self.prior_channels = max_frames, sigma_data, prior_channels
        self.takes_kept = takes_kept
        kept_channels = channels + 1 if takes_kept else 0
        self.input = nn.Linear(channels + 1 + prior_channels + kept_channels, width)
        self.text = nn.Linear(token_width, width)
        self.null_token = nn.Parameter(torch.randn(token_width) * 0.02)
        self.null_pooled = nn.Parameter(torch.zeros(pooled_width))
        self.pooled = nn.Linear(pooled_width, width)
        self.time_fourier = FourierFeatures(0.5, 32.0)  # of ln(sigma) / 4, about -1.6 .. 1.1
        self.time = nn.Sequential(nn.Linear(128, width), nn.SiLU(), nn.Linear(width, width))
        self.guidance_fourier = FourierFeatures(0.1, 6.0)  # of w, about 0 .. 6
        self.guidance = nn.Linear(128, width, bias=False) if guidance_range is not None else None
        self.target = nn.Linear(128, width, bias=False) if target_time else None
        self.duration_fourier = FourierFeatures(0.5, 16.0)  # of ln(frames) / 4, about 0 .. 1.4
        self.duration = nn.Linear(128, width, bias=False) if takes_duration else None
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.modulation_table = nn.Parameter(torch.zeros(depth, 6, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.output_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.output = nn.Linear(width, channels)
        frequency = 10_000.0 ** -torch.linspace(0, 1, width // heads // 2 + 1)[:-1]
        angle = torch.arange(max_frames)[:, None, None] * frequency
        self.register_buffer("rotary", torch.stack([angle.cos(), angle.sin()]), persistent=False)
        self._initialise()

    def student(self, guidance_range: tuple[float, float], target_time: bool = False) -> Self:
        """Returns a copy conditioned on w and, with `target_time`, on s; without dropout, equal until trained."""
        config = {key: value for key, value in self.config.items() if not key.startswith("_")}
        changes = {"guidance_range": guidance_range, "target_time": target_time, "dropout": 0.0}
        net = type(self).from_config(config | changes)
        net.load_state_dict(self.state_dict(), strict=False)
        return net

    def load_weights_of(self, net: "TransformerNet") -> None:
        """Loads the weights of a network of this shape; where that one takes no known frames and this one does, both
        are equal until this one is trained, since the weights of these inputs are 0.

        Raises RuntimeError if the shapes differ elsewhere."""
        weights = dict(net.state_dict())
        if self.takes_kept and not net.takes_kept:
            weights["input.weight"] = F.pad(weights["input.weight"], (0, self.config.channels + 1))
        self.load_state_dict(weights)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        zero = [self.modulation[1], self.output_modulation[1], self.output, self.guidance, self.target, self.duration]
        for layer in [*zero, *(block.cross_out for block in self.blocks)]:
            if layer is not None:
                nn.init.zeros_(layer.weight)
        with torch.no_grad():
            self.modulation_table[:, [2, 5]] = len(self.blocks) ** -0.5  # small gates, but not 0

    def _vector_condition(self, t: Tensor, s: Tensor | None, pooled: Tensor, cond: Condition) -> Tensor:
        """Sums the embeddings of everything that is one vector per item, in float32: [batch, width]."""
        vector = self.time(self.time_fourier(t.float().clamp_min(_MIN_TIME).log() / 4)) + self.pooled(pooled.float())
        if self.target is not None:
            s = torch.zeros_like(t) if s is None else s
            vector = vector + self.target(self.time_fourier(s.float().clamp_min(_MIN_TIME).log() / 4))
        if self.guidance is not None and cond.guidance is not None:
            vector = vector + self.guidance(self.guidance_fourier(cond.guidance))
        if self.duration is not None and cond.duration is not None:
            frames = cond.duration.float()
            features = self.duration_fourier(frames.clamp_min(1).log() / 4)
            vector = vector + self.duration(features * (frames > 0)[:, None])
        return vector

    def _text_condition(self, batch: int, cond: Condition) -> tuple[Tensor, Tensor | None, Tensor]:
        """Returns token states [batch, token, dim], their mask, and the pooled vector [batch, dim].

        The learned null token and null vector replace dropped rows (`cond.null`) and missing inputs."""
        tokens, token_mask, pooled, null = cond.tokens, cond.token_mask, cond.pooled, cond.null
        if tokens is None:
            tokens, token_mask = self.null_token.expand(batch, 1, -1), None
        else:
            tokens = rms_norm(tokens)  # text encoders differ in scale by orders of magnitude
        pooled = self.null_pooled.expand(batch, -1) if pooled is None else rms_norm(pooled)
        if null is not None:
            tokens = torch.where(null[:, None, None], self.null_token.to(tokens.dtype), tokens)
            pooled = torch.where(null[:, None], self.null_pooled.to(pooled.dtype), pooled)
            if token_mask is not None:  # null tokens are all equal: any number of them will do
                token_mask = token_mask | null[:, None]
        return tokens, token_mask, pooled

    def _kept_frames(self, x_t: Tensor, cond: Condition) -> list[Tensor]:
        """Returns the known frames, 0 where they are to be made, and their mask: [batch, channel, frame], [batch, 1,
        frame]."""
        if cond.kept is None or cond.kept_mask is None:
            return [torch.zeros_like(x_t), torch.zeros_like(x_t[:, :1])]
        known = cond.kept_mask[:, None].to(x_t.dtype)
        return [cond.kept.to(x_t.dtype) * known, known]

    def _trunk(self, x: Tensor, t: Tensor, s: Tensor | None, cond: Condition) -> Tensor:
        """The EDM paper's network F: [batch, frame, input] -> [batch, frame, channel], in the trunk's dtype."""
        tokens, token_mask, pooled = self._text_condition(len(x), cond)
        with torch.autocast(x.device.type, enabled=False):
            vector = self._vector_condition(t, s, pooled, cond)
            shared = self.modulation(vector).unflatten(-1, (6, -1))
            output_shift, output_scale = self.output_modulation(vector)[:, None].chunk(2, dim=-1)
        h, text = self.input(x), self.text(tokens)
        rotary = self.rotary[:, : h.shape[1]].to(h.dtype)
        frame_mask = None if cond.mask is None else cond.mask[:, None, None, :]
        text_mask = None if token_mask is None else token_mask[:, None, None, :]
        modulations = (shared[None] + self.modulation_table[:, None]).to(h.dtype)
        for block, modulation in zip(self.blocks, modulations.unbind(0), strict=True):
            h = block(h, modulation, rotary, frame_mask, text, text_mask)
        return self.output(rms_norm(h) * (1 + output_scale.to(h.dtype)) + output_shift.to(h.dtype))

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Condition | None = None) -> Tensor:
        """Returns clean = c_skip x_t + c_out F(c_in x_t; ln(t) / 4, s, cond), EDM (Karras et al. 2022) table 1.

        x_t [batch, channel, frame]; t, s [batch]; the result is float32. Raises ValueError if there are more than
        ``max_frames`` frames."""
        if x_t.shape[-1] > self.max_frames:
            raise ValueError(f"x_t has {x_t.shape[-1]} latent frames, the network takes at most {self.max_frames}")
        cond = Condition() if cond is None else cond
        real = torch.ones_like(x_t[:, :1]) if cond.mask is None else cond.mask[:, None].to(x_t.dtype)
        sigma = t.float()[:, None, None]
        c_skip, c_out, c_in, _ = edm_scalings(sigma, self.sigma_data)
        parts = [c_in * x_t * real, real]
        if self.prior_channels:
            shown = real if cond.null is None else real * ~cond.null[:, None, None]
            parts.append(cond.prior * shown)
        if self.takes_kept:
            parts += self._kept_frames(x_t, cond)
        output = self._trunk(torch.cat(parts, dim=1).transpose(1, 2), t, s, cond).transpose(1, 2).float()
        return (c_skip * x_t + c_out * output) * real

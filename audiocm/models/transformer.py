"""The compact 1-D latent transformer of the bundled models: the teacher and its one-step student are this one class.

It is a contract net: ``net(x_t, t, s, cond) -> clean``. Time embedding and preconditioning run in float32, the trunk in
autocast's dtype; nothing waits for the host and shapes follow the inputs alone, so a whole step can be compiled with
``fullgraph=True`` and captured in a CUDA graph. ``torch.func.jvp`` goes through it with the MATH attention kernel.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from ..diffusion.denoiser import Condition, edm_scalings
from .layers import FourierFeatures, apply_rotary, attention_jvp, rms_norm, rms_norm_jvp
from .weights import StoredWeights

_LEAST_TIME = 1e-3  # sigma and s below this look alike to the embedding (ln 0 is not a number)


class Block(nn.Module):
    """Self-attention, cross-attention to the text, MLP; all pre-norm, the first and last modulated (adaLN)."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.cross_q = nn.Linear(width, width)
        self.cross_kv = nn.Linear(width, 2 * width)
        self.cross_out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.cross_norm = nn.Parameter(torch.ones(width))
        self.qk_norm = nn.Parameter(torch.ones(width // heads))  # one for q and k: only their product counts
        self.cross_qk_norm = nn.Parameter(torch.ones(width // heads))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)

    def _attend(self, x: Tensor, turn: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k = apply_rotary(rms_norm(q, self.qk_norm), turn), apply_rotary(rms_norm(k, self.qk_norm), turn)
        mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _listen(self, x: Tensor, text: Tensor, mask: Tensor | None) -> Tensor:
        q = rms_norm(self.cross_q(x).unflatten(-1, (self.heads, -1)), self.cross_qk_norm)
        k, v = self.cross_kv(text).unflatten(-1, (2, self.heads, -1)).unbind(2)
        k = rms_norm(k, self.cross_qk_norm)
        mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask)
        return self.cross_out(mixed.transpose(1, 2).flatten(2))

    def forward(
        self, x: Tensor, knobs: Tensor, turn: Tensor, mask: Tensor | None, text: Tensor, text_mask: Tensor | None
    ) -> Tensor:
        """x [batch, frame, width]; knobs [batch, 6, width] = shift, scale, gate of the attention, then of the MLP."""
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = knobs.unsqueeze(2).unbind(1)
        x = x + gate * self._drop(self._attend(rms_norm(x) * (1 + scale) + shift, turn, mask))
        x = x + self._drop(self._listen(rms_norm(x, self.cross_norm), text, text_mask))
        hidden = F.gelu(self.up(rms_norm(x) * (1 + scale_mlp) + shift_mlp), approximate="tanh")
        return x + gate_mlp * self._drop(self.down(hidden))

    def pushed(self, inputs: tuple, tangents: tuple) -> tuple[Tensor, Tensor]:
        """`forward` of its six inputs and its derivative, where x and knobs move: what forward-mode differentiation gives, as
        plain operations, which torch.compile fuses. Raises ValueError where anything else moves, or with dropout."""
        (x, knobs, turn, mask, text, text_mask), (dx, dknobs, *still) = inputs, tangents
        if any(s is not None for s in still) or dx is None or dknobs is None or (self.dropout and self.training):
            raise ValueError("a block has a derivative along its states and knobs alone, without dropout")
        dx, dknobs = dx.to(x.dtype), dknobs.to(knobs.dtype)
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = knobs.unsqueeze(2).unbind(1)
        dshift, dscale, dgate, dshift_mlp, dscale_mlp, dgate_mlp = dknobs.unsqueeze(2).unbind(1)

        def heads(x: Tensor, parts: int) -> tuple[Tensor, ...]:
            return x.unflatten(-1, (parts, self.heads, -1)).unbind(2)

        def first(x: Tensor) -> Tensor:
            return x.transpose(1, 2)

        # self-attention
        h, dh = rms_norm_jvp(x, dx)
        h, dh = h * (1 + scale) + shift, dh * (1 + scale) + h * dscale + dshift
        (q, k, v), (dq, dk, dv) = heads(self.qkv(h), 3), heads(F.linear(dh, self.qkv.weight), 3)
        (q, dq), (k, dk) = rms_norm_jvp(q, dq, self.qk_norm), rms_norm_jvp(k, dk, self.qk_norm)
        q, dq, k, dk = (first(apply_rotary(part, turn)) for part in (q, dq, k, dk))
        h, dh = (first(part).flatten(2) for part in attention_jvp(q, dq, k, first(v), mask, dk, first(dv)))
        h, dh = self.out(h), F.linear(dh, self.out.weight)
        x, dx = x + gate * h, dx + gate * dh + dgate * h
        # cross-attention
        h, dh = rms_norm_jvp(x, dx, self.cross_norm)
        (q,), (dq,) = heads(self.cross_q(h), 1), heads(F.linear(dh, self.cross_q.weight), 1)
        q, dq = rms_norm_jvp(q, dq, self.cross_qk_norm)
        k, v = heads(self.cross_kv(text), 2)
        k = rms_norm(k, self.cross_qk_norm)
        h, dh = (first(part).flatten(2) for part in attention_jvp(first(q), first(dq), first(k), first(v), text_mask))
        x, dx = x + self.cross_out(h), dx + F.linear(dh, self.cross_out.weight)
        # MLP
        h, dh = rms_norm_jvp(x, dx)
        h, dh = h * (1 + scale_mlp) + shift_mlp, dh * (1 + scale_mlp) + h * dscale_mlp + dshift_mlp
        h, dh = self.up(h), F.linear(dh, self.up.weight)
        slope = torch.ops.aten.gelu_backward(dh, h, approximate="tanh")
        h, dh = self.down(F.gelu(h, approximate="tanh")), F.linear(slope, self.down.weight)
        return x + gate_mlp * h, (dx + gate_mlp * dh + dgate_mlp * h).to(x.dtype)


class LatentTransformer(StoredWeights, ModelMixin, ConfigMixin):
    """Latents [batch, channel, frame] at EDM time t = sigma -> their clean estimate, same shape, zero outside the mask.

    ``guidance_range``: the w a guidance-distilled student was trained on (it then takes ``cond.guidance``); None for a
    net that is not told. ``target_time``: the net takes s. Both enter through zero-initialised layers, so a student
    loaded from its teacher equals it at step 0 (ConsistencyTTA, eq. 8). ``prior_channels``: width of ``cond.prior``.
    """

    _repeated_blocks: ClassVar[list[str]] = ["Block"]  # diffusers compiles one of them and reuses it for all

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
    ):
        super().__init__()
        if path != "edm":
            raise ValueError(f"LatentTransformer preconditions for the path 'edm' only, not {path!r}")
        if width % heads or (width // heads) % 2:
            raise ValueError(f"width {width} must split into {heads} heads of an even number of channels")
        self.max_frames, self.sigma_data, self.prior_channels = max_frames, sigma_data, prior_channels
        self.input = nn.Linear(channels + 1 + prior_channels, width)
        self.text = nn.Linear(token_width, width)
        self.null_token = nn.Parameter(torch.randn(token_width) * 0.02)
        self.null_pooled = nn.Parameter(torch.zeros(pooled_width))
        self.pooled = nn.Linear(pooled_width, width)
        self.time_fourier = FourierFeatures(0.5, 32.0)  # of ln(sigma) / 4, about -1.6 .. 1.1
        self.time = nn.Sequential(nn.Linear(128, width), nn.SiLU(), nn.Linear(width, width))
        self.guidance_fourier = FourierFeatures(0.1, 6.0)  # of w, about 0 .. 6
        self.guidance = nn.Linear(128, width, bias=False) if guidance_range is not None else None
        self.target = nn.Linear(128, width, bias=False) if target_time else None
        self.knobs = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.knob_table = nn.Parameter(torch.zeros(depth, 6, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.output_knobs = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.output = nn.Linear(width, channels)
        frequency = 10_000.0 ** -torch.linspace(0, 1, width // heads // 2 + 1)[:-1]
        angle = torch.arange(max_frames)[:, None, None] * frequency
        self.register_buffer("turn", torch.stack([angle.cos(), angle.sin()]), persistent=False)
        self._initialise()

    def student(self, guidance_range: tuple[float, float], target_time: bool = False) -> LatentTransformer:
        """A copy with inputs for w and, for jumps to every time, s: equal to this net at step 0, without dropout."""
        more = {"guidance_range": guidance_range, "target_time": target_time, "dropout": 0.0}
        net = type(self).from_config({**self.config, **more})
        net.load_state_dict(self.state_dict(), strict=False)
        return net

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        zero = [self.knobs[1], self.output_knobs[1], self.output, self.guidance, self.target]
        for layer in [*zero, *(block.cross_out for block in self.blocks)]:
            if layer is not None:
                nn.init.zeros_(layer.weight)
        with torch.no_grad():
            self.knob_table[:, [2, 5]] = len(self.blocks) ** -0.5  # gates: branches start small, not shut

    def _embed(self, t: Tensor, s: Tensor | None, pooled: Tensor, guidance: Tensor | None) -> Tensor:
        """Everything that is one vector per item, in float32: [batch, width]."""
        now = self.time(self.time_fourier(t.float().clamp_min(_LEAST_TIME).log() / 4)) + self.pooled(pooled.float())
        if self.target is not None:
            s = torch.zeros_like(t) if s is None else s
            now = now + self.target(self.time_fourier(s.float().clamp_min(_LEAST_TIME).log() / 4))
        if self.guidance is not None and guidance is not None:
            now = now + self.guidance(self.guidance_fourier(guidance))
        return now

    def _words(self, batch: int, cond: Condition | None) -> tuple[Tensor, Tensor | None, Tensor]:
        """Token states [batch, token, dim], their mask and the pooled vector, with the learned null where it is due."""
        null = getattr(cond, "null", None)
        tokens, token_mask = getattr(cond, "tokens", None), getattr(cond, "token_mask", None)
        pooled = getattr(cond, "pooled", None)
        if tokens is None:
            tokens, token_mask = self.null_token.expand(batch, 1, -1), None
        else:
            tokens = rms_norm(tokens)  # encoders differ by orders of magnitude
            if null is not None:
                tokens = torch.where(null[:, None, None], self.null_token.to(tokens.dtype), tokens)
            if null is not None and token_mask is not None:  # all null tokens are equal: see any number of them
                token_mask = token_mask | null[:, None]
        if pooled is None:
            pooled = self.null_pooled.expand(batch, -1)
        else:
            pooled = rms_norm(pooled)
            if null is not None:
                pooled = torch.where(null[:, None], self.null_pooled.to(pooled.dtype), pooled)
        return tokens, token_mask, pooled

    def _trunk(self, x: Tensor, t: Tensor, s: Tensor | None, cond: Condition | None, mask: Tensor | None) -> Tensor:
        """What the EDM paper calls F: [batch, frame, input] -> [batch, frame, channel], in the trunk's dtype."""
        tokens, token_mask, pooled = self._words(len(x), cond)
        with torch.autocast(x.device.type, enabled=False):
            now = self._embed(t, s, pooled, getattr(cond, "guidance", None))
            shared = self.knobs(now).unflatten(-1, (6, -1))
            last_shift, last_scale = self.output_knobs(now)[:, None].chunk(2, dim=-1)
        h, text = self.input(x), self.text(tokens)
        turn = self.turn[:, : h.shape[1]].to(h.dtype)
        attend = None if mask is None else mask[:, None, None, :]
        listen = None if token_mask is None else token_mask[:, None, None, :]
        knobs = (shared[None] + self.knob_table[:, None]).to(h.dtype)
        for block, own in zip(self.blocks, knobs.unbind(0), strict=True):
            h = block(h, own, turn, attend, text, listen)
        return self.output(rms_norm(h) * (1 + last_scale.to(h.dtype)) + last_shift.to(h.dtype))

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Condition | None = None) -> Tensor:
        """clean = c_skip x_t + c_out F(c_in x_t; ln(t)/4, s, cond), EDM (Karras et al. 2022) table 1; float32.

        x_t [batch, channel, frame]; t, s [batch]. ValueError when the latent is longer than ``max_frames``.
        """
        if x_t.shape[-1] > self.max_frames:
            raise ValueError(f"{x_t.shape[-1]} latent frames, but the net was built for at most {self.max_frames}")
        mask = getattr(cond, "mask", None)
        real = torch.ones_like(x_t[:, :1]) if mask is None else mask[:, None].to(x_t.dtype)
        sigma = t.float()[:, None, None]
        c_skip, c_out, c_in, _ = edm_scalings(sigma, self.sigma_data)
        parts = [c_in * x_t * real, real]
        if self.prior_channels:
            heard = real if cond.null is None else real * ~cond.null[:, None, None]
            parts.append(cond.prior * heard)
        inner = self._trunk(torch.cat(parts, dim=1).transpose(1, 2), t, s, cond, mask).transpose(1, 2).float()
        return (c_skip * x_t + c_out * inner) * real

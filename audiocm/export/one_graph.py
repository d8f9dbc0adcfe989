"""All graphs of a model as one, from ids or phonemes and noise to the wav, Griffin-Lim included.

The graphs are joined as they are, so that the one graph computes what they compute in turn. A Fourier transform of n
samples is made of two products with matrices of about the square root of n (Cooley and Tukey 1965), since runtimes of
ONNX are slow at their own transform, or lack it.
"""

import math

import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from ..audio.spectral import overlap_add

MOMENTUM = 0.99


class Fourier(nn.Module):
    """Complex discrete Fourier transform of n = a b values, of real numbers: [..., n] pairs -> [..., n] pairs."""

    def __init__(self, n: int):
        super().__init__()
        a = next(a for a in range(math.isqrt(n), 0, -1) if n % a == 0)
        self.a, self.b = a, n // a

        def table(rows: int, columns: int, period: int) -> tuple[Tensor, Tensor]:
            angle = -2 * math.pi * torch.outer(torch.arange(rows), torch.arange(columns)).double() / period
            return angle.cos().float(), angle.sin().float()

        for name, (rows, columns, period) in {
            "first": (a, a, a),
            "twiddle": (self.b, a, n),
            "second": (self.b,) * 3,
        }.items():
            for part, value in zip(("real", "imag"), table(rows, columns, period), strict=True):
                self.register_buffer(f"{name}_{part}", value)

    def forward(self, real: Tensor, imag: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns real and imaginary parts; imag None: of real numbers. x[b i + j] -> X[k + a l]."""
        real = real.unflatten(-1, (self.a, self.b)).transpose(-1, -2)  # [..., j, i]
        if imag is None:
            real, imag = real @ self.first_real, real @ self.first_imag  # [..., j, k]
        else:
            imag = imag.unflatten(-1, (self.a, self.b)).transpose(-1, -2)
            real, imag = _product(real, imag, self.first_real, self.first_imag)
        turned = real * self.twiddle_real - imag * self.twiddle_imag
        imag = (real * self.twiddle_imag + imag * self.twiddle_real).transpose(-1, -2)  # [..., k, j]
        real, imag = _product(turned.transpose(-1, -2), imag, self.second_real, self.second_imag)  # [..., k, l]
        return real.transpose(-1, -2).flatten(-2), imag.transpose(-1, -2).flatten(-2)


def _product(real: Tensor, imag: Tensor, with_real: Tensor, with_imag: Tensor) -> tuple[Tensor, Tensor]:
    return real @ with_real - imag @ with_imag, real @ with_imag + imag @ with_real


class GriffinLim(nn.Module):
    """real, imag [batch, bin, frame] -> wav [batch, frame * hop], after iterations, see `audiocm.audio.spectral`."""

    def __init__(self, n_fft: int, hop: int, iterations: int):
        super().__init__()
        self.n_fft, self.hop, self.iterations, self.pad = n_fft, hop, iterations, (n_fft - hop) // 2
        self.fourier = Fourier(n_fft)
        self.register_buffer("window", torch.hann_window(n_fft))

    def forward(self, real: Tensor, imag: Tensor) -> Tensor:
        real, imag = real.transpose(1, 2), imag.transpose(1, 2)
        magnitude, before = (real.square() + imag.square()).sqrt(), None
        weight = overlap_add(torch.ones_like(real[:1, :, :1]) * self.window.square(), self.hop).clamp_min(1e-8)
        for _ in range(self.iterations):
            now = self._stft(self._istft(real, imag, weight))
            real, imag = now
            if before is not None:
                share = MOMENTUM / (1 + MOMENTUM)
                real, imag = real - share * before[0], imag - share * before[1]
            gain = magnitude / (real.square() + imag.square()).clamp_min(1e-16).sqrt()
            real, imag, before = real * gain, imag * gain, now
        return self._istft(real, imag, weight)

    def _istft(self, real: Tensor, imag: Tensor, weight: Tensor) -> Tensor:
        """The inverse transform of real x is that of its conjugate spectrum, turned: x = Re F(conj X) / n."""
        last = self.n_fft // 2
        whole_real = torch.cat([real, real[..., 1:last].flip(-1)], -1)
        zero = torch.zeros_like(imag[..., :1])  # of constant and highest frequency, an inverse takes the real part
        inner = imag[..., 1:last]
        frames = self.fourier(whole_real, torch.cat([zero, -inner, zero, inner.flip(-1)], -1))[0] / self.n_fft
        wav = overlap_add(frames * self.window, self.hop) / weight
        return wav[:, self.pad : wav.shape[1] - self.pad]

    def _stft(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        padded = F.pad(wav[:, None], (self.pad, self.pad), mode="reflect")[:, 0]
        parts = padded.unflatten(1, (-1, self.hop))  # pad is no multiple of hop, but n_fft - hop, both pads, is
        count = self.n_fft // self.hop
        frames = torch.cat([parts[:, k : parts.shape[1] - count + 1 + k] for k in range(count)], -1)
        real, imag = self.fourier(frames * self.window, None)
        return real[..., : self.n_fft // 2 + 1], imag[..., : self.n_fft // 2 + 1]


def join(models: dict[str, onnx.ModelProto]) -> onnx.ModelProto:
    """Returns models as one: an input with the name of an output that a model before has made is that output.

    The last model's outputs are those of the whole."""
    nodes, tensors, inputs, made, versions = [], [], {}, set(), {}
    for name, model in models.items():
        part = onnx.compose.add_prefix(model, f"{name}/", rename_inputs=False, rename_outputs=False)
        nodes += part.graph.node
        tensors += part.graph.initializer
        inputs |= {one.name: one for one in part.graph.input if one.name not in made | set(inputs)}
        made |= {one.name for one in part.graph.output}
        for one in part.opset_import:
            versions[one.domain] = max(one.version, versions.get(one.domain, 0))
    graph = helper.make_graph(nodes, "audiocm", list(inputs.values()), list(part.graph.output), tensors)
    opsets = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    joined = helper.make_model(graph, opset_imports=opsets, ir_version=max(m.ir_version for m in models.values()))
    onnx.checker.check_model(joined)
    return joined


def speech_glue(pitch_rows: int, opset: int) -> onnx.ModelProto:
    """Returns the model between durations and prior: durations [batch, token], drawn [batch, channel, frames of the
    longest sentence] -> pitch [batch, pitch_rows, frame] that is free, and as many frames of `drawn`, noise."""

    def constant(name: str, *values: int) -> TensorProto:
        return numpy_helper.from_array(torch.tensor(values).numpy(), name)

    zero = numpy_helper.from_array(torch.zeros(1, 1, 1).numpy(), "free")
    constants = [constant("one", 1), constant("two", 2), constant("none", 0), constant("rows", pitch_rows), zero]
    nodes = [
        helper.make_node("ReduceSum", ["durations", "one"], ["total"], keepdims=0),
        helper.make_node("Round", ["total"], ["whole"]),
        helper.make_node("ReduceMax", ["whole", "none"], ["longest"], keepdims=1),
        helper.make_node("Cast", ["longest"], ["frames"], to=TensorProto.INT64),
        helper.make_node("Shape", ["durations"], ["batch"], start=0, end=1),
        helper.make_node("Concat", ["batch", "rows", "frames"], ["shape"], axis=0),
        helper.make_node("Expand", ["free", "shape"], ["pitch"]),
        helper.make_node("Slice", ["drawn", "none", "frames", "two"], ["noise"]),
    ]
    inputs = [
        helper.make_tensor_value_info("durations", TensorProto.FLOAT, ["batch", "tokens"]),
        helper.make_tensor_value_info("drawn", TensorProto.FLOAT, ["batch", None, "drawn_frames"]),
    ]
    outputs = [
        helper.make_tensor_value_info("pitch", TensorProto.FLOAT, [None] * 3),
        helper.make_tensor_value_info("noise", TensorProto.FLOAT, [None] * 3),
    ]
    graph = helper.make_graph(nodes, "glue", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)

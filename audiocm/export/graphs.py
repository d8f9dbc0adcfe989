"""The parts of a one-call student as modules of tensors alone, which torch exports as graphs.

Batch and length are free; all rows of a call have the same number of frames, so no graph takes a frame mask.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..diffusion.denoiser import Condition
from ..models.text_encoder import sentence_vector
from ..pipelines.failures import MAX_FRAME_RMS
from ..pipelines.latent_pipeline import LatentPipeline
from ..pipelines.text_to_audio import TextToAudioPipeline
from ..speech.encoder import SpeechEncoder
from ..speech.encoder_net import SUBFRAMES, SpeechBatch

# the axis of each input, besides the batch, whose length is free, and what it counts
LENGTHS = dict.fromkeys(("ids", "token_mask", "symbols", "stress", "tokens", "durations"), (1, "tokens"))
LENGTHS |= {"states": (2, "tokens"), "log_mel": (2, "mel_frames")}
LENGTHS |= dict.fromkeys(("pitch", "noise", "prior", "latent", "real", "imag"), (2, "frames"))
ROWS, TOKENS, FRAMES = 2, 7, 24  # of example inputs; with one row, torch would fix the batch to 1


@dataclass(frozen=True)
class Graph:
    """A module to export, an example of its inputs by name, and the names of its outputs."""

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]

    def free_axes(self, name: str) -> tuple[int, ...]:
        """Returns the axes of an input whose length is free: the batch, and that of tokens or frames."""
        return (0, *LENGTHS.get(name, ())[:1])

    def length_name(self, name: str) -> str:
        """Returns what the free axis of an input counts."""
        return LENGTHS[name][1]

    @torch.no_grad()
    def __call__(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Returns the outputs that torch computes, by name."""
        made = self.module(*(inputs[name] for name in self.inputs))
        return dict(zip(self.outputs, made if isinstance(made, tuple) else (made,), strict=True))


class TextEncoder(nn.Module):
    """ids, token_mask, int64 [batch, token] -> token states [batch, token, dim], sentence vector [batch, dim]."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.encoder(input_ids=ids, attention_mask=token_mask).last_hidden_state
        return tokens, sentence_vector(tokens, token_mask)


class Student(nn.Module):
    """A student's jump from the top of its path to the clean latent, [batch, channel, frame].

    noise [batch, channel, frame] of unit variance, temperature and guidance [batch], tokens [batch, token, dim],
    token_mask int64 [batch, token], pooled [batch, dim]; then `duration` [batch] in frames (0: not said) of a network
    that takes it, and `prior` [batch, channel, frame] of one that has it, on `noise_mean` times which noise is centred.
    """

    def __init__(self, pipe: LatentPipeline):
        super().__init__()
        self.net, self.path = pipe.transformer, pipe.path
        self.noise_mean = float(pipe.config.get("noise_mean", 0.0))
        config = self.net.config
        self.names = ("noise", "temperature", "guidance", "tokens", "token_mask", "pooled")
        self.names += ("duration",) if config.takes_duration else ()
        self.names += ("prior",) if config.prior_channels else ()

    def forward(self, *inputs: Tensor) -> Tensor:
        given = dict(zip(self.names, inputs, strict=True))
        noise, temperature, prior = given.pop("noise"), given.pop("temperature"), given.get("prior")
        noise = noise * temperature[:, None, None]
        if prior is not None:
            noise = noise + self.noise_mean * prior
        cond = Condition(**given | {"token_mask": given["token_mask"] > 0})
        t = torch.full_like(temperature, self.path.t_max)
        sigma = self.path.sigma(t)[:, None, None]
        return self.net(sigma * noise, t, torch.zeros_like(t), cond)  # a jump to time 0 ends at the estimate


class Decoder(nn.Module):
    """latent [batch, channel, frame] -> log_mel [batch, bin, 4 * frame], limited in level as generated sounds are."""

    def __init__(self, pipe: LatentPipeline):
        super().__init__()
        self.vae, self.mel = pipe.vae, pipe.vocoder.mel

    def forward(self, latent: Tensor) -> Tensor:
        return self.mel.limit(self.vae.decode(latent), MAX_FRAME_RMS)


class Spectrum(nn.Module):
    """log_mel [batch, bin, frame] -> real and imaginary part [batch, n_fft / 2 + 1, frame] of the vocoder's spectrum,
    with magnitudes of this mel: where Griffin-Lim starts."""

    def __init__(self, pipe: LatentPipeline):
        super().__init__()
        self.vocoder = pipe.vocoder

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        mel = self.vocoder.mel
        real, imag = self.vocoder.initial_parts(log_mel)
        gain = mel.gain(mel.from_power(real.square() + imag.square()), log_mel)
        return real * gain, imag * gain


class Durations(nn.Module):
    """symbols, stress, token_mask int64 [batch, token], voice int64 [batch], speed [batch] -> token states [batch,
    width, token] and durations [batch, token] in frames, with whole numbers of frames a row."""

    def __init__(self, encoder: SpeechEncoder):
        super().__init__()
        self.encoder = encoder

    def forward(
        self, symbols: Tensor, stress: Tensor, token_mask: Tensor, voice: Tensor, speed: Tensor
    ) -> tuple[Tensor, Tensor]:
        speech = SpeechBatch(symbols, stress, token_mask > 0, voice)
        states = self.encoder.states(speech)
        return states, self.encoder.predict_durations(states, speech, speed[:, None])


class Prior(nn.Module):
    """states and durations of `Durations`, voice [batch], pitch [batch, 3 * SUBFRAMES, frame] (0: free) -> tokens [batch,
    token, dim], pooled [batch, dim], prior [batch, channel, frame]."""

    def __init__(self, encoder: SpeechEncoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, states: Tensor, durations: Tensor, voice: Tensor, pitch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        every = torch.ones_like(pitch[:, 0]) > 0
        speech = SpeechBatch(voice, voice, every, voice, mask=every, pitch=pitch)
        cond = self.encoder.condition(states, speech, durations, pitch.shape[2])
        return cond.tokens, cond.pooled, cond.prior


def graphs_of(pipe: LatentPipeline) -> list[Graph]:
    """Returns the graphs of a student in the order of a call, each with inputs that those before it have made.

    Raises ValueError for a teacher."""
    if not pipe.is_student:
        raise ValueError("it is a teacher, which takes many calls: only one-call students can be exported")
    generator = torch.Generator().manual_seed(0)
    values = {
        "token_mask": (torch.arange(TOKENS) < torch.tensor([[TOKENS - 2], [TOKENS]])).long(),
        "noise": torch.randn(ROWS, pipe.codec.channels, FRAMES, generator=generator),
        "temperature": torch.ones(ROWS),
        "guidance": torch.linspace(*pipe.guidance_range, ROWS),
        "duration": torch.full((ROWS,), float(FRAMES)),
    }
    graphs: list[Graph] = []

    def add(name: str, module: nn.Module, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        graph = Graph(name, module.eval(), {one: values[one] for one in inputs}, outputs)
        values.update(graph(**graph.inputs))
        graphs.append(graph)

    if isinstance(pipe, TextToAudioPipeline):
        values["ids"] = torch.randint(100, 1000, (ROWS, TOKENS), generator=generator)
        add("text_encoder", TextEncoder(pipe.text_encoder), ("ids", "token_mask"), ("tokens", "pooled"))
    else:
        encoder = pipe.speech_encoder
        values["symbols"] = torch.randint(1, len(encoder.config.symbols), (ROWS, TOKENS), generator=generator)
        values["stress"] = values["symbols"] % 3
        values |= {"voice": torch.arange(ROWS) % len(encoder.config.voices), "speed": torch.ones(ROWS)}
        values["pitch"] = torch.zeros(ROWS, 3 * SUBFRAMES, FRAMES)
        inputs = ("symbols", "stress", "token_mask", "voice", "speed")
        add("durations", Durations(encoder), inputs, ("states", "durations"))
        inputs = ("states", "durations", "voice", "pitch")
        add("prior", Prior(encoder), inputs, ("tokens", "pooled", "prior"))
    student = Student(pipe)
    add("transformer", student, student.names, ("latent",))
    add("decoder", Decoder(pipe), ("latent",), ("log_mel",))
    add("vocoder", Spectrum(pipe), ("log_mel",), ("real", "imag"))
    return graphs

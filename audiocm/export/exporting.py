"""A student as a folder of graphs, with a card, its parity with torch, and an example program."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from ..files import atomic_write
from ..models.folders import sha256, shards_of, weight_file
from ..pipelines import failures
from ..pipelines.latent_pipeline import LatentPipeline
from ..pipelines.loading import model_folder, read_index
from ..pipelines.text_to_audio import TextToAudioPipeline
from ..pipelines.text_to_speech import TextToSpeechPipeline
from ..runtime.folder import MANIFEST, GraphFolder, save_manifest
from ..runtime.text_to_audio import ExportedModel, OnnxTextToAudio
from ..runtime.text_to_speech import OnnxTextToSpeech
from ..speech.encoder_net import PITCH_CENTRE, SUBFRAMES
from .card import export_card
from .graphs import Graph, graphs_of
from .one_graph import GriffinLim, join, speech_glue
from .onnx_files import OPSET, PRECISIONS, export_graph, set_precision, signal_to_noise

BACKENDS = ("onnx", "openvino")
EXAMPLES = Path(__file__).parent / "examples"


def export_model(
    name: str | os.PathLike,
    folder: str | os.PathLike,
    backend: str = "onnx",
    precision: str = "int8",
    one_graph: bool = False,
    force: bool = False,
    pipe: LatentPipeline | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, list[float]]:
    """Writes a one-call student as a folder of graphs, atomically, and returns their parity with torch.

    name       a bundled model, a folder, or a hub id, or what `pipe` is called
    backend    "onnx" (files .onnx) or "openvino" (.xml and .bin)
    precision  "fp32"; "fp16": weights stored in half precision; "int8": weights stored, and most products computed, in
               8 bits (OpenVINO chooses itself how it computes)
    one_graph  also writes model.onnx, all graphs in one, Griffin-Lim included
    force      replaces a folder that an export has written
    pipe       the loaded pipeline, if there is one
    report     called with a line about each graph that is done

    The parity is, for each graph, the signal-to-noise ratio in dB of each of its outputs on the outputs that torch made
    for the graphs before. Raises ValueError for a model that is no student of audiocm's pipelines, an option that is not
    allowed, or a folder that is in the way."""
    if backend not in BACKENDS or precision not in PRECISIONS:
        raise ValueError(f"allowed are {', '.join(BACKENDS)} in {', '.join(PRECISIONS)}, not {backend} in {precision}")
    if one_graph and backend != "onnx":
        raise ValueError("one graph is written for onnx only")
    _check_folder(Path(folder), force)
    pipe = load_student(name) if pipe is None else pipe
    graphs = graphs_of(pipe)
    with atomic_write(Path(folder)) as partial, torch.random.fork_rng(devices=[]):
        partial.mkdir()
        parity, files = {}, {}
        for graph in graphs:
            file = partial / f"{graph.name}.onnx"
            export_graph(graph, file)
            set_precision(file, graph.name, precision, arithmetic=backend == "onnx")
            files[graph.name] = (file.name,) if backend == "onnx" else _convert_to_openvino(file)
            report(f"{graph.name}: {sum((partial / one).stat().st_size for one in files[graph.name]) / 1e6:.1f} MB")
        if one_graph:
            model = _join_graphs(pipe, graphs, partial)
            onnx.save(model, partial / "model.onnx")
            files["model"] = ("model.onnx",)
        extra = _write_tokenizer(pipe, partial)
        settings = {"backend": backend, "precision": precision, "model": _title(name), **runtime_settings(pipe)}
        save_manifest(partial, files, extra, **settings)
        reader = GraphFolder(partial, settings["kind"])
        parity = {graph.name: _parity(graph, reader) for graph in graphs}
        if backend == "onnx":
            source = EXAMPLES / f"{settings['kind'].replace('-', '_')}.py"
            (partial / "example.py").write_bytes(source.read_bytes())
        distance = _sound_distance(pipe, reader)
        sources = _weight_digests(name)
        (partial / "README.md").write_text(export_card(settings, files, parity, distance, sources), encoding="utf-8")
    return parity


def _check_folder(folder: Path, force: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"cannot write to the folder {folder}: a file is in its place")
    if any(folder.iterdir()):
        if not (folder / MANIFEST).is_file():
            raise ValueError(f"{folder} is not empty, and no export has written it: give another folder")
        if not force:
            raise ValueError(f"{folder} holds an exported model: give another folder, or --force to replace it")


def load_student(name: str | os.PathLike) -> LatentPipeline:
    """Loads a student. Raises ValueError for anything else, before its weights are read where that is possible."""
    try:
        settings, components = read_index(model_folder(name))
    except ValueError as error:
        raise ValueError(f"{error} (exported are one-call students of audiocm's own pipelines)") from error
    for kind in (TextToAudioPipeline, TextToSpeechPipeline):
        if set(components) == set(kind.required_components):
            return kind.from_pretrained(name)
    held = ", ".join(sorted(components)) or ", ".join(sorted(settings))
    raise ValueError(f"{_title(name)} is no model of audiocm's own pipelines, which alone are exported: it has {held}")


def _title(name: str | os.PathLike) -> str:
    return Path(name).name or str(name)


def runtime_settings(pipe: LatentPipeline) -> dict[str, Any]:
    """Returns what the runtime must know of a pipeline."""
    vocoder, codec, config = pipe.vocoder.config, pipe.codec, pipe.config
    iterations = vocoder.iterations if codec.iterations is None else codec.iterations
    shared = {
        "sample_rate": codec.sample_rate,
        "n_fft": vocoder.n_fft,
        "hop": vocoder.hop,
        "compression": pipe.vae.compression,
        "channels": codec.channels,
        "max_frames": pipe.transformer.config.max_frames,
        "iterations": iterations,
        "guidance_range": list(map(float, pipe.guidance_range)),
        "guidance_scale": float(config.guidance_scale),
        "temperature": float(config.get("temperature", 1.0)),
        "silence_rms": failures.SILENCE_RMS,
        "clipped_share": failures.CLIPPED_SHARE,
        "retry_stride": failures.RETRY_STRIDE,
    }
    if isinstance(pipe, TextToAudioPipeline):
        own = {"seconds_range": list(config.seconds_range), "max_tokens": config.max_tokens}
        return {"kind": OnnxTextToAudio.kind, **shared, **own}
    own = {
        "voices": list(pipe.voices),
        "symbols": pipe.speech_encoder.config.symbols,
        "follows_pitch": bool(pipe.speech_encoder.config.follows_pitch),
        "subframes": SUBFRAMES,
        "pitch_centre": PITCH_CENTRE,
    }
    return {"kind": OnnxTextToSpeech.kind, **shared, **own}


def _write_tokenizer(pipe: LatentPipeline, folder: Path) -> tuple[str, ...]:
    """Writes the tokenizer of a text-to-audio pipeline and returns its file. Raises ValueError for a slow one."""
    if not isinstance(pipe, TextToAudioPipeline):
        return ()
    backend = getattr(pipe.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ValueError(f"the tokenizer {type(pipe.tokenizer).__name__} has no tokenizer.json")
    backend.save(str(folder / "tokenizer.json"))
    return ("tokenizer.json",)


def _convert_to_openvino(file: Path) -> tuple[str, ...]:
    """Replaces an ONNX file by OpenVINO's two files and returns their names."""
    try:
        import openvino
    except ImportError as error:
        raise ImportError("openvino is not installed: run `pip install 'audiocm[openvino]'`") from error
    openvino.save_model(openvino.convert_model(file), file.with_suffix(".xml"), compress_to_fp16=False)
    file.unlink()
    return (file.with_suffix(".xml").name, file.with_suffix(".bin").name)


def _join_graphs(pipe: LatentPipeline, graphs: list[Graph], folder: Path) -> onnx.ModelProto:
    """Returns all graphs in one: ids or symbols, and noise, to `wav` [batch, sample]."""
    iterations = runtime_settings(pipe)["iterations"]
    inverse = GriffinLim(pipe.vocoder.config.n_fft, pipe.vocoder.config.hop, iterations)
    last = {name: value[:, :, :48] for name, value in graphs[-1](**graphs[-1].inputs).items()}
    inversion = Graph("griffin_lim", inverse, last, ("wav",))
    export_graph(inversion, folder / "griffin_lim.onnx")
    models = {}
    for graph in [*graphs, inversion]:
        if graph.name == "prior":
            models["glue"] = speech_glue(graph.inputs["pitch"].shape[1], OPSET)
        models[graph.name] = onnx.load(folder / f"{graph.name}.onnx")
    (folder / "griffin_lim.onnx").unlink()
    return join(models)


def _parity(graph: Graph, reader: GraphFolder) -> list[float]:
    """Returns the signal-to-noise ratio in dB of each output of a graph on its example inputs."""
    made = reader.graph(graph.name)(**{name: value.numpy() for name, value in graph.inputs.items()})
    wanted = graph(**graph.inputs).values()
    return [round(signal_to_noise(one, other.numpy()), 1) for one, other in zip(made, wanted, strict=True)]


def _sound_distance(pipe: LatentPipeline, reader: GraphFolder) -> float:
    """Returns the mean difference in dB of the log-mels of a sound made by torch and by the graphs from one seed."""
    generator = torch.Generator().manual_seed(0)
    options: dict[str, Any] = {"generator": generator, "max_retries": 0, "on_failure": "return"}
    model: ExportedModel
    if isinstance(pipe, TextToAudioPipeline):
        seconds, model = min(2.0, pipe.config.seconds_range[1]), OnnxTextToAudio(reader)
        wanted = pipe("a dog barks", seconds, **options).audios[0]
        made = model("a dog barks", seconds, max_retries=0, on_failure="return").audios[0]
    else:
        model = OnnxTextToSpeech(reader)
        wanted = pipe("Hello, world.", **options).audios[0]
        made = model("Hello, world.", max_retries=0, on_failure="return").audios[0]
    length = min(len(made), len(wanted)) // pipe.vocoder.config.hop * pipe.vocoder.config.hop
    mels = [pipe.vocoder.mel(torch.as_tensor(wav)[None, :length]) for wav in (made, wanted)]
    return float((mels[0] - mels[1]).abs().mean()) * 20 / np.log(10)


def _weight_digests(name: str | os.PathLike) -> list[tuple[str, str, str]]:
    """Returns (component, name, SHA-256) of each weight file of a model, none of one that has no components."""
    try:
        _, components = read_index(model_folder(name))
    except ValueError:
        return []
    digests = []
    for part, folder in components.items():
        if part == "tokenizer":
            continue
        file = weight_file(folder, with_index=True)
        digests += [(part, one.name, sha256(one)) for one in (shards_of(file) if file.suffix == ".json" else [file])]
    return digests

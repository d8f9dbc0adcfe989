"""LAION's own package laion-clap as a CLAP scorer: `laion-clap:FILE` (`laion_clap` is the port, which needs it not).

Front end, towers and tokenizer call are the package's. Its weights are read by `read_weights`, since its own loader runs
pickled code, and it fetches nothing: it would ask the Hugging Face hub for three tokenizers at its import and for the
weights of RoBERTa that the checkpoint then replaces. It needs torchlibrosa and torchvision; what only its training uses
(pandas, h5py, webdataset and others) is left out where it is not installed:

    pip install --no-deps laion-clap torchlibrosa torchvision
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch

from ..files import content_digest
from .checkpoints import load_strictly, package_folder, read_weights
from .clap import ClapScorer, load_words, numpy_seed

INSTALL = "--no-deps laion-clap torchlibrosa torchvision"
NEEDED = ("laion_clap", "torchlibrosa", "torchvision", "torchaudio")
TRAINING_ONLY = ("braceexpand", "ftfy", "h5py", "pandas", "webdataset", "wget")  # imported by it, not used in scoring
TOWERS = {96: "HTSAT-tiny", 128: "HTSAT-base", 256: "HTSAT-large"}  # width of the first stage -> the package's name


@contextmanager
def _without_hub(config: Any) -> Iterator[None]:
    """Keeps the package from the hub and from unused packages; its RoBERTa is one of sizes `config` without weights."""
    from transformers import BartModel, BartTokenizer, BertModel, BertTokenizer, RobertaModel, RobertaTokenizer

    # all that it imports of transformers is here before the stand-ins, which transformers would take for packages
    _ = BartModel, BertModel
    stand_ins = {name: ModuleType(name) for name in TRAINING_ONLY if name not in sys.modules and not find_spec(name)}
    for module in stand_ins.values():
        module.__getattr__ = lambda name: object  # a base class of its data sets
    with ExitStack() as stack:
        for name, module in stand_ins.items():
            sys.modules[name] = module
            stack.callback(sys.modules.pop, name)
        stack.enter_context(mock.patch.object(sys, "path", list(sys.path)))  # to which it appends its own folder
        for tokenizer in {BartTokenizer, BertTokenizer, RobertaTokenizer}:
            stack.enter_context(mock.patch.object(tokenizer, "from_pretrained", lambda *_, **__: None))
        stack.enter_context(mock.patch.object(RobertaModel, "from_pretrained", lambda *_, **__: RobertaModel(config)))
        yield


def _text_config(state: dict[str, torch.Tensor]) -> Any:
    """Reads RoBERTa's sizes from LAION's weights."""
    from transformers import RobertaConfig

    tables = "text_branch.embeddings"
    vocabulary, width = state[f"{tables}.word_embeddings.weight"].shape
    return RobertaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_attention_heads=width // 64,
        num_hidden_layers=len({key.split(".")[3] for key in state if key.startswith("text_branch.encoder.layer.")}),
        intermediate_size=state["text_branch.encoder.layer.0.intermediate.dense.weight"].shape[0],
        max_position_embeddings=state[f"{tables}.position_embeddings.weight"].shape[0],
        type_vocab_size=state[f"{tables}.token_type_embeddings.weight"].shape[0],
        layer_norm_eps=1e-5,
        pad_token_id=1,
    )


def load_with_package(file: str | Path, tokenizer: str | None = None, device: str = "cpu") -> ClapScorer:
    """Loads LAION's checkpoint file by the package laion-clap; without a `tokenizer` it embeds audio only.

    `tokenizer` is a RoBERTa folder or hub id. Raises ValueError if a package is missing, if the file is no checkpoint
    with an HTSAT tower and RoBERTa, or if the tokenizer is another than its."""
    for package in NEEDED:
        package_folder(package, INSTALL)
    state, data = read_weights(file)
    state = {key.removeprefix("module."): value for key, value in state.items()}
    try:
        config, width = _text_config(state), state["audio_branch.patch_embed.proj.weight"].shape[0]
        tower = TOWERS[width]
    except KeyError as error:
        raise ValueError(f"{file}: not a LAION CLAP checkpoint with an HTSAT tower ({error} is missing)") from error
    words, vocabulary = load_words(tokenizer, config.vocab_size)
    fused = any("fusion_model" in key for key in state)
    with _without_hub(config):
        from laion_clap import CLAP_Module

        clap = CLAP_Module(enable_fusion=fused, device=device, amodel=tower)
    load_strictly(clap.model, state, file, ("position_ids", "token_type_ids"))
    clap.tokenize = words

    @torch.inference_mode()
    def embed_audio(wavs: Sequence[np.ndarray]) -> np.ndarray:
        embeddings = []
        for wav in wavs:  # one by one, as in the port
            with numpy_seed(0):
                embeddings.append(clap.get_audio_embedding_from_data([np.asarray(wav, np.float32)]))
        return np.concatenate(embeddings)

    @torch.inference_mode()
    def embed_text(texts: Sequence[str]) -> np.ndarray:
        if words is None:
            raise ValueError("this CLAP has no tokenizer: name one with --tokenizer (a RoBERTa folder or hub id)")
        starts = range(0, len(texts), 64)
        return np.concatenate([clap.get_text_embedding(list(texts[start : start + 64])) for start in starts])

    name = f"laion-clap {version('laion-clap')}"
    digest = content_digest(data, name, *vocabulary)
    clip = f"{'fusion' if fused else 'rand_trunc'} to 10 s, repeatpad"
    return ClapScorer(embed_audio, embed_text, f"laion-clap:{Path(file).stem}", 48000, digest, clip)

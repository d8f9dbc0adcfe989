"""Low-rank differences (LoRA, Hu et al. 2021) of linear layers and convolutions, by peft, in the files of diffusers.

A layer with a difference is one module more with fixed shapes, which never waits for the device: it can be compiled and
captured in CUDA graphs, and a copy of the network is an ordinary target or average. peft is imported at first use.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ..files import atomic_write
from ..models.folders import record_checksums, verify_checksum
from ..schema import Rule, flag, number, parse_json, table
from .denoiser import ConditionedLinear, DenoiserNet

WEIGHTS_FILE = "pytorch_lora_weights.safetensors"
CONFIG_KEY = "lora_adapter_metadata"  # of the file's metadata, where diffusers keeps the configuration
ADAPTER = "default"  # peft's name of the difference
_ALPHA = number(0, 1e6)
_SETTINGS: dict[str, Rule] = {  # of a file, that are heeded
    "lora_alpha": _ALPHA,
    "alpha_pattern": table({}, others=_ALPHA),
    "use_rslora": flag,
    "lora_bias": flag,
}


def _lora_layers(net: nn.Module) -> dict[str, Any]:
    """Returns the layers with a difference by their names."""
    if not hasattr(net, "peft_config") and not any(hasattr(part, "peft_config") for part in net.modules()):
        return {}
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in net.named_modules() if isinstance(module, LoraLayer)}


def has_lora(net: nn.Module) -> bool:
    """Returns whether a network has a low-rank difference that is not merged."""
    return bool(_lora_layers(net))


def adaptable_layers(net: nn.Module, rank: int, pattern: str = "") -> list[str]:
    """Returns the linear layers and convolutions in which a difference has fewer numbers than the weight itself.

    pattern: a regular expression that is searched in their names."""
    found = []
    for name, layer in net.named_modules():
        if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)) and re.search(pattern, name):
            rows, columns = layer.weight.shape[0], layer.weight[0].numel()
            if rank * (rows + columns) < rows * columns:
                found.append(name)
    return found


def add_lora(net: nn.Module, rank: int = 64, pattern: str = "", scale: float = 1.0) -> list[nn.Parameter]:
    """Freezes a network and adds a difference scale * B A, zero at first. Returns the float32 parameters to train.

    It goes to all linear layers and convolutions that have more numbers than the difference and whose name contains
    `pattern`, a regular expression. Raises ValueError for a rank below 1, if there is no such layer, and for a network
    that already has a difference."""
    if int(rank) != rank or rank < 1:
        raise ValueError(f"the rank must be a whole number of at least 1, not {rank}")
    if has_lora(net):
        raise ValueError("the network already has a low-rank difference: merge it first")
    layers = adaptable_layers(net, rank, pattern)
    if not layers:
        if not adaptable_layers(net, 1, pattern):
            raise ValueError(f"no linear layer or convolution has {pattern!r} in its name and more numbers than rank 1")
        most = max(one for one in range(1, int(rank)) if adaptable_layers(net, one, pattern))
        raise ValueError(f"the rank must be at most {most}, beyond which no layer has more numbers, not {rank}")
    from peft import LoraConfig

    _inject(net, LoraConfig(r=rank, lora_alpha=rank * scale, target_modules=layers))
    trained = [p for name, p in net.named_parameters() if ".lora_" in name]
    for parameter in trained:
        parameter.data = parameter.data.float()
    return trained


def _inject(net: nn.Module, config: Any) -> None:
    from peft import inject_adapter_in_model

    net.requires_grad_(False)
    inject_adapter_in_model(config, net, adapter_name=ADAPTER)


def set_lora_scale(net: nn.Module, scale: float) -> None:
    """Multiplies the difference by `scale`, 1 being that of training. Raises ValueError if there is none."""
    layers = _lora_layers(net)
    if not layers:
        raise ValueError("the network has no low-rank difference")
    for layer in layers.values():
        layer.set_scale(ADAPTER, scale)


def merge_lora(net: nn.Module) -> None:
    """Adds the difference to the weights, which leaves an ordinary network; does nothing where there is none."""
    for layer in _lora_layers(net).values():
        layer.merge()
    remove_lora(net)


def remove_lora(net: nn.Module) -> None:
    """Takes a difference away that is not merged."""
    for name, layer in _lora_layers(net).items():
        net.set_submodule(name, layer.get_base_layer())
    for part in net.modules():
        vars(part).pop("peft_config", None)


def save_lora(net: nn.Module, folder: str | os.PathLike) -> None:
    """Writes pytorch_lora_weights.safetensors. net.load_lora_adapter(folder, prefix=None, weight_name=...) reads it.

    Raises ValueError if there is no difference, or if it is not all that was trained: the student takes w or s."""
    if isinstance(net, DenoiserNet):
        net = net.net
    if any(isinstance(layer, ConditionedLinear) for layer in net.modules()):
        raise ValueError(
            "this student takes w or s, which a LoRA file cannot hold: use save_student, which needs no peft"
        )
    if not has_lora(net):
        raise ValueError("the network has no low-rank difference to save")
    from peft.utils import get_peft_model_state_dict

    config = net.peft_config[ADAPTER]
    settings = {"r": config.r, "lora_alpha": config.lora_alpha, "target_modules": sorted(config.target_modules)}
    state = get_peft_model_state_dict(net, adapter_name=ADAPTER, save_embedding_layers=False)
    weights = {name: weight.detach().cpu().contiguous() for name, weight in state.items()}
    with atomic_write(Path(folder) / WEIGHTS_FILE) as partial:
        save_file(weights, partial, metadata={"format": "pt", CONFIG_KEY: json.dumps(settings)})
        partial.chmod(0o644)  # safetensors makes files readable by the owner only
    record_checksums(folder)


def load_lora(net: nn.Module, folder: str | os.PathLike, scale: float = 1.0, merge: bool = False) -> None:
    """Freezes a network of any class and adds the difference of a folder or a .safetensors file to it, times `scale`.

    merge: add it to the weights, which costs nothing at inference but cannot be undone. Files of peft and diffusers are
    read, with the prefix "transformer." or "unet." too. Raises ValueError if the file is missing or damaged, or does
    not fit the network."""
    file = Path(folder) if Path(folder).suffix == ".safetensors" else Path(folder) / WEIGHTS_FILE
    if has_lora(net):
        raise ValueError("the network already has a low-rank difference: merge it first")
    weights, config = _read(file)
    from peft.utils import set_peft_model_state_dict

    layers = dict(net.named_modules())
    if unknown := [name for name in config.target_modules if name not in layers]:
        raise ValueError(f"{file} does not fit {type(net).__name__}: it has no layer {sorted(unknown)[0]!r}")
    try:
        _inject(net, config)
        lost = set_peft_model_state_dict(net, weights, adapter_name=ADAPTER).unexpected_keys
        if lost:
            raise ValueError(f"it has no layer {lost[0]!r}")
    except (ValueError, RuntimeError) as error:
        remove_lora(net)
        raise ValueError(f"{file} does not fit {type(net).__name__}: {' '.join(str(error).split())[:200]}") from error
    set_lora_scale(net, scale)
    if merge:
        merge_lora(net)


def _read(file: Path) -> tuple[dict[str, torch.Tensor], Any]:
    """Returns the weights of a file, without the prefix of a pipeline, and peft's configuration."""
    if not file.is_file():
        raise ValueError(f"LoRA file {file} is missing")
    verify_checksum(file)
    try:
        with safe_open(file, framework="pt") as opened:
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            stored = parse_json((opened.metadata() or {}).get(CONFIG_KEY, "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"LoRA file {file} is damaged: {error}") from error
    for prefix in ("transformer.", "unet."):
        if weights and all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): weight for name, weight in weights.items()}
    from peft import LoraConfig

    ranks = {name.split(".lora_A")[0]: len(w) for name, w in weights.items() if ".lora_A" in name and w.ndim}
    if not ranks:
        raise ValueError(f"LoRA file {file} holds no low-rank difference")
    default = max(ranks.values())  # ranks are those of the matrices, whatever the file says
    others = {name: rank for name, rank in ranks.items() if rank != default}
    settings: dict[str, Any] = {"lora_alpha": default, "alpha_pattern": others}  # alpha is the rank if it is not told
    if stored is not None:
        place = f"LoRA file {file}: {CONFIG_KEY}"
        table({}, others=lambda *_: None)(stored, place)
        settings = {key.split(".")[-1]: value for key, value in stored.items()}
        settings = {key: value for key, value in settings.items() if key in _SETTINGS}
        table(_SETTINGS)(settings, place)
    if odd := [name for name in (*ranks, *settings.get("alpha_pattern", ())) if not re.fullmatch(r"[\w.]+", name)]:
        raise ValueError(f"LoRA file {file}: {odd[0][:60]!r} is no name of a layer")  # peft takes them as patterns
    return weights, LoraConfig(r=default, rank_pattern=others, **settings, target_modules=list(ranks))

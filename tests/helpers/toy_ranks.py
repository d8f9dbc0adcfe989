"""A training whose steps draw no noise, so that any number of ranks can be compared; run by torchrun in test_ranks.py.

torchrun --nproc_per_node 2 toy_ranks.py FOLDER
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from audiocm.diffusion import paths
from audiocm.diffusion.denoiser import Condition
from audiocm.distillation import methods
from audiocm.distillation.states import NoisePair
from audiocm.training.run import Run
from audiocm.training.trainer import train

STEPS, GLOBAL_BATCH = 8, 8


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

    def forward(self, x):
        return x + self.second(torch.tanh(self.first(x)))


class Net(nn.Module):
    """A network (x_t, t, s, cond) -> clean with a norm's vectors, an odd number of rows, and a buffer."""

    _repeated_blocks = ("Block",)

    def __init__(self, width=7):
        super().__init__()
        self.into, self.norm = nn.Linear(6, width), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(3))
        self.out = nn.Linear(width, 6)
        self.register_buffer("scale", torch.tensor(0.05))

    def forward(self, x_t, t, s=None, cond=None):
        h = self.norm(self.into(self.scale * x_t))
        for block in self.blocks:
            h = block(h)
        return self.out(h)


class Pairs:
    """Pairs of data and noise, each a function of its number; ranks take consecutive ones, as `EncodedBatches` do."""

    any_ranks = True

    def __init__(self, batch):
        self.batch, self.position = batch, 0
        self.rank, self.ranks = (int(os.environ.get(name, other)) for name, other in (("RANK", 0), ("WORLD_SIZE", 1)))

    def __next__(self):
        numbers = self.position + self.rank * self.batch + np.arange(self.batch)
        self.position += self.batch * self.ranks
        drawn = torch.from_numpy(np.stack([np.random.default_rng(int(n)).normal(size=(2, 6)) for n in numbers])).float()
        return NoisePair(drawn[:, 0], drawn[:, 1]), Condition()

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.position = state["position"]


def make_run(steps=STEPS, accumulate=1, seed=0, **changes):
    """A run whose steps take eight pairs in all."""
    torch.manual_seed(seed + int(os.environ.get("RANK", 0)))  # rank 0's weights count
    batch = GLOBAL_BATCH // accumulate // int(os.environ.get("WORLD_SIZE", 1))
    settings = {"lr": 1e-2, "warmup": 2, "ema": 0.9, "target_ema": 0.8, "log_every": 1, "save_every": 100} | changes
    settings["decay"] = lambda progress: 1.0
    method = methods.regression(path=paths.edm)
    return Run("ranks", Net(), method, Pairs(batch), steps, accumulate=accumulate, **settings)


def losses(folder):
    """The losses of all steps, by the log."""
    lines = [json.loads(text) for text in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: (line["loss"], line["grad_norm"]) for line in lines if "loss" in line}


def weights(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for name, changes in {
        "data-parallel": {},
        "sharded": {"shard": True},
        "sharded-checkpointed": {"shard": True, "gradient_checkpointing": True},
        "accumulated": {"accumulate": 2},
    }.items():
        net = train(make_run(**changes), folder / name)
        gathered = [torch.empty_like(weights(net)) for _ in range(2)]
        torch.distributed.all_gather(gathered, weights(net))
        assert torch.equal(*gathered), name
    train(make_run(steps=3), folder / "by-two")
    train(make_run(steps=3, shard=True), folder / "by-shards")
    train(make_run(seed=5, shard=True), folder / "by-one")  # one rank wrote the first three steps
    torch.distributed.barrier()
    print("done", flush=True)
    os._exit(0)  # gloo's threads sometimes abort the shutdown of a finished process


if __name__ == "__main__":
    main(Path(sys.argv[1]))

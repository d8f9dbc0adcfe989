"""Whole pipelines of the architectures that `audiocm.teachers` reads, true in form, tiny, with random weights."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import Any

import torch

from audiocm.diffusion.denoiser import Condition
from audiocm.teachers import Teacher, load_teacher
from recipes.teachers.tiny_forms import BUILDERS

NAMES = tuple(BUILDERS)
SECONDS = {"stable-audio": 0.5, "stable-audio-3": 0.5}  # of a sound; 0.64 for the others


def seconds(name: str) -> float:
    """The length of a sound of a teacher."""
    return SECONDS.get(name, 0.64)


def build(name: str, seed: int = 0) -> Any:
    """A pipeline with random weights, or the dict of components of TANGO."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = BUILDERS[name]()
    if not isinstance(pipe, dict):
        pipe.set_progress_bar_config(disable=True)
    return pipe


@functools.cache
def shared(name: str) -> Any:
    """One pipeline for all tests that do not change it."""
    return build(name)


PROMPTS = ["a dog", "a cat on my lap"]


@dataclass
class Case:
    """A teacher with the pipeline that it was made from."""

    name: str
    pipe: Any
    teacher: Teacher

    @property
    def seconds(self) -> float:
        return seconds(self.name)

    @functools.cached_property
    def cond(self) -> Condition:
        return self.teacher.condition(PROMPTS, self.seconds)

    def noise(self, batch: int = 2, seed: int = 0) -> torch.Tensor:
        shape = self.teacher.latent_shape(self.seconds)
        return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed))

    def time(self, part: float = 1.0, batch: int = 2) -> torch.Tensor:
        """Times [batch], a part of t_max."""
        return torch.full((batch,), self.teacher.path.t_max * part)


@functools.cache
def make_case(name: str) -> Case:
    pipe = shared(name)
    return Case(name, pipe, load_teacher(pipe))

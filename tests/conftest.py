"""One thread a process: the tests' nets are tiny, and two threads on busy cores spend their time waiting for each other."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

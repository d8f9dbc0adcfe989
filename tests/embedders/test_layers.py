"""Framing shared by the embedders."""

import torch

from audiocm.embedders.layers import split_in_blocks


def test_blocks_pad_only_a_short_clip():
    frames = torch.arange(10.0)[:, None]
    assert split_in_blocks(frames, 4, 2, -1.0).shape == (4, 4, 1)
    short = split_in_blocks(frames[:3], 4, 2, -1.0)
    assert short.shape == (1, 4, 1) and short[0, -1, 0] == -1

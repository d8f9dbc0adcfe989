"""Monotonic alignment search, forced alignment by CTC, and the assignment of frames to phonemes by their durations."""

import torch
import torch.nn.functional as F
from torch import Tensor

_IMPOSSIBLE = -1e9  # score of a cell that no path reaches


@torch.no_grad()
def monotonic_alignment(score: Tensor, token_mask: Tensor, frame_mask: Tensor) -> Tensor:
    """Returns each token's frames on the best monotonic path, float [batch, token].

    Glow-TTS (Kim et al. 2020), algorithm 1. score [batch, frame, token]: log-likelihood of each frame under each token.
    Every token gets at least one frame, and a row sums to its number of real frames. A row with more tokens than frames
    has no such path; its frames are shared equally. Works on a whole batch and never waits for the device, so that it
    can be part of a captured step."""
    batch, frames, tokens = score.shape
    token_count, frame_count = token_mask.sum(1), frame_mask.sum(1)
    best = score.new_full((batch, tokens), _IMPOSSIBLE)
    best[:, 0] = score[:, 0, 0]
    advanced = []  # for each frame, whether the best path to a token comes from the token before
    for t in range(1, frames):
        previous = torch.cat([best.new_full((batch, 1), _IMPOSSIBLE), best[:, :-1]], 1)
        advanced.append(previous > best)
        best = torch.maximum(best, previous) + score[:, t]
    durations, token = torch.zeros_like(best), token_count - 1
    for t in range(frames - 1, -1, -1):
        real = t < frame_count
        durations.scatter_add_(1, token[:, None], real[:, None].to(durations.dtype))
        if t:
            token = (token - (real & advanced[t - 1].gather(1, token[:, None])[:, 0]).long()).clamp_min(0)
    equal = token_mask * (frame_count / token_count.clamp_min(1))[:, None]
    return torch.where((frame_count >= token_count)[:, None], durations, equal.to(durations.dtype))


def distribute_frames(durations: Tensor, frames: int) -> Tensor:
    """Returns the share of each frame that each token fills [batch, frame, token].

    durations [batch, token] in frames, not only whole. Frames sum to 1 up to the total of the durations, to 0 after."""
    ends = durations.cumsum(1)[:, None]
    starts = ends - durations[:, None]
    frame = torch.arange(frames, device=durations.device, dtype=durations.dtype)[:, None]
    return (torch.minimum(ends, frame + 1) - torch.maximum(starts, frame)).clamp_min(0)


def whole_frames(durations: Tensor, least: int = 1) -> tuple[Tensor, Tensor]:
    """Scales durations [batch, token] to rows with whole numbers of frames; returns them and these numbers [batch]."""
    total = durations.sum(1)
    frames = total.round().clamp_min(least)
    return durations * (frames / total.clamp_min(1e-6))[:, None], frames.long()


def forced_alignment(log_probabilities: Tensor, tokens: Tensor, blank: int = 0) -> Tensor:
    """Returns the first frame and the one after the last of each token on the most probable CTC path, int [token, 2].

    CTC is of Graves et al. 2006. log_probabilities [frame, label] are those of a recogniser, tokens [token] the labels
    of what was said, none of them `blank`. The path is found by torchaudio's operator, or by the same search in plain
    torch where torchaudio has no library that fits this torch. Raises ValueError if there is no token, if one is no
    label or the blank, or if there are too few frames: one for each token and one between equal neighbours."""
    from torchaudio.functional import forced_align, merge_tokens

    labels, least = log_probabilities.shape[1], len(tokens) + int((tokens[1:] == tokens[:-1]).sum())
    if not len(tokens) or not bool(((tokens >= 0) & (tokens < labels) & (tokens != blank)).all()):
        raise ValueError(f"tokens must be one or more labels from 0 to {labels - 1} other than the blank, {blank}")
    if len(log_probabilities) < least:
        raise ValueError(f"{len(log_probabilities)} frames are too few for these tokens, which need {least}")
    if hasattr(torch.ops.torchaudio, "forced_align"):
        path = forced_align(log_probabilities[None].contiguous(), tokens[None].long(), blank=blank)[0][0]
    else:
        path = _ctc_path(log_probabilities, tokens, blank)
    spans = merge_tokens(path, torch.zeros(len(path)), blank)
    return torch.tensor([[span.start, span.end] for span in spans])


def _ctc_path(log_probabilities: Tensor, tokens: Tensor, blank: int) -> Tensor:
    """Returns the label of each frame [frame] on the most probable CTC path, by the Viterbi algorithm."""
    states = torch.full((2 * len(tokens) + 1,), blank)  # a blank before, between and after the tokens
    states[1::2] = tokens
    skips = torch.zeros(len(states), dtype=torch.bool)
    skips[3::2] = tokens[1:] != tokens[:-1]  # no blank is needed between different tokens
    scores, impossible = log_probabilities.cpu()[:, states], float("-inf")
    best = scores[0].clone()
    best[2:] = impossible
    steps = []  # for each frame, how many states before the best path to a state comes from
    for score in scores[1:]:
        one = F.pad(best, (1, 0), value=impossible)[:-1]
        two = F.pad(best, (2, 0), value=impossible)[:-2].masked_fill(~skips, impossible)
        best, step = torch.stack([best, one, two]).max(dim=0)
        best = best + score
        steps.append(step)
    path = [len(states) - 1 if best[-1] > best[-2] else len(states) - 2]
    for step in reversed(steps):
        path.append(path[-1] - int(step[path[-1]]))
    return states[path[::-1]]

"""Alignment search against brute force, and frames distributed by durations."""

import itertools

import pytest
import torch

from audiocm.speech import alignment
from audiocm.speech.alignment import distribute_frames, monotonic_alignment, whole_frames


def best_durations(score: torch.Tensor, tokens: int, frames: int) -> list[int]:
    """The durations with the best score, by trying all ways to divide the frames among the tokens."""
    best, durations = -float("inf"), None
    for cuts in itertools.combinations(range(1, frames), tokens - 1):
        ends = [0, *cuts, frames]
        value = sum(score[ends[k] : ends[k + 1], k].sum().item() for k in range(tokens))
        if value > best:
            best, durations = value, [ends[k + 1] - ends[k] for k in range(tokens)]
    return durations


def test_search_finds_the_best_path_of_every_row():
    torch.manual_seed(0)
    sizes = [(4, 9), (1, 9), (5, 5), (3, 7), (2, 2)]
    score = torch.randn(len(sizes), 9, 5)
    tokens = torch.arange(5) < torch.tensor([n for n, _ in sizes])[:, None]
    frames = torch.arange(9) < torch.tensor([n for _, n in sizes])[:, None]
    durations = monotonic_alignment(score, tokens, frames)
    for row, (n, total) in enumerate(sizes):
        assert durations[row].tolist() == [*best_durations(score[row], n, total), *[0] * (5 - n)]


def test_search_divides_frames_equally_where_there_are_too_few():
    durations = monotonic_alignment(torch.randn(1, 6, 4), torch.ones(1, 4, dtype=torch.bool), torch.arange(6)[None] < 3)
    assert torch.allclose(durations, torch.full((1, 4), 0.75))


def test_frames_are_distributed_by_overlap():
    shares = distribute_frames(torch.tensor([[0.5, 2.0, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0]]), 4)
    assert shares[0].tolist() == [[0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 0]]
    assert shares[1].sum(1).tolist() == [1, 0, 0, 0]
    durations = torch.rand(3, 20)
    stretched, frames = whole_frames(durations)
    assert torch.allclose(distribute_frames(stretched, int(frames.max())).sum(1), stretched, atol=1e-4)


def most_probable_path(log_probabilities, tokens, blank):
    """Returns the CTC path of the tokens with the highest probability, by trying all labels in all frames."""

    def probability(path):
        return float(log_probabilities[range(len(path)), list(path)].sum())

    def spoken(path):
        return [label for label, _ in itertools.groupby(path) if label != blank]

    labels = sorted({blank, *tokens})
    paths = itertools.product(labels, repeat=len(log_probabilities))
    return max((path for path in paths if spoken(path) == tokens), key=probability)


@pytest.mark.parametrize("tokens", [[1], [1, 2], [2, 2], [3, 1, 1], [1, 2, 1, 3]])
@pytest.mark.parametrize("blank", [0, 4])
def test_forced_alignment_is_the_most_probable_path(tokens, blank):
    generator = torch.Generator().manual_seed(len(tokens))
    for frames in (len(tokens) + 1, 6):
        scores = torch.randn(frames, 5, generator=generator).mul(2).log_softmax(1)
        expected = most_probable_path(scores, tokens, blank)
        assert alignment._ctc_path(scores, torch.tensor(tokens), blank).tolist() == list(expected)
        found = alignment.forced_alignment(scores, torch.tensor(tokens), blank)
        runs, at = [], 0
        for label, run in itertools.groupby(expected):
            length = len(list(run))
            runs += [[at, at + length]] if label != blank else []
            at += length
        assert found.tolist() == runs


def test_forced_alignment_refuses_what_has_no_path():
    scores = torch.zeros(2, 3).log_softmax(1)
    with pytest.raises(ValueError, match="2 frames are too few for these tokens, which need 3"):
        alignment.forced_alignment(scores, torch.tensor([1, 1]))
    for tokens in ([], [0], [3], [-1]):
        with pytest.raises(ValueError, match="tokens must be one or more labels from 0 to 2 other than the blank, 0"):
            alignment.forced_alignment(scores, torch.tensor(tokens, dtype=torch.long))

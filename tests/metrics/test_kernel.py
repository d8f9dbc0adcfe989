"""Kernel audio distance and nearest-neighbour metrics."""

import numpy as np
import pytest

from audiocm import metrics
from audiocm.metrics.kernel import Neighbours, kernel_distance, kernel_statistic


def gaussian(count, mean, covariance, seed):
    return np.random.default_rng(seed).multivariate_normal(mean, covariance, count)


def test_kernel_distance_is_unbiased_and_equals_the_double_sum():
    y = gaussian(200, np.zeros(4), np.eye(4), 0)
    values = [metrics.kernel_distance(gaussian(20, np.zeros(4), np.eye(4), s), y, bandwidth=2.0) for s in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
    x, y = gaussian(5, np.ones(2), np.eye(2), 1), gaussian(6, np.zeros(2), np.eye(2), 2)

    def k(a, b):
        return np.exp(-np.square(a - b).sum() / (2 * 1.5**2))

    within = [np.mean([k(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j]) for s in (x, y)]
    truth = sum(within) - 2 * np.mean([k(a, b) for a in x for b in y])
    assert metrics.kernel_distance(x, y, bandwidth=1.5) == pytest.approx(100 * truth, rel=1e-10)


def test_density_coverage_precision_recall_on_equal_and_disjoint_sets():
    x, y = np.random.default_rng(0).normal(size=(2, 500, 3))
    rows, near, far = np.arange(500), Neighbours(x, y), Neighbours(x + 100, y)
    density, coverage = near.density(rows), near.coverage(rows)
    assert density == pytest.approx(1, abs=0.1) and coverage == pytest.approx(1 - 0.5**5, abs=0.03)  # Naeem, eq. 11
    assert min(near.precision(rows), near.recall(rows)) > 0.8
    assert [far.density(rows), far.coverage(rows), far.precision(rows), far.recall(rows)] == [0, 0, 0, 0]


def test_a_part_of_a_set_has_the_numbers_of_that_part():
    x, y = np.random.default_rng(0).normal(size=(2, 30, 4))
    rows = np.arange(3, 25)
    near, part, all_rows = Neighbours(x, y), Neighbours(x[rows], y), np.arange(len(rows))
    for name in ("density", "coverage", "precision", "recall"):
        assert getattr(near, name)(rows) == getattr(part, name)(all_rows)
    whole = metrics.kernel_distance(x[rows], y, bandwidth=1.5)
    assert kernel_statistic(x, y, 1.5)(rows) == pytest.approx(whole, rel=1e-12)


def test_recall_within_a_subset_is_recall():
    rng = np.random.default_rng(0)
    neighbours = Neighbours(rng.normal(size=(60, 4)), rng.normal(size=(50, 4)))
    subset = np.sort(rng.permutation(60)[:40])
    for rows in (subset, rng.permutation(subset)[:20]):
        assert neighbours.recall_within(subset)(rows) == neighbours.recall(rows)


def test_large_sets_are_summed_in_single_precision(monkeypatch):
    rng = np.random.default_rng(1)
    x, y = rng.normal(3, 1, (300, 32)), rng.normal(3.05, 1, (200, 32))
    exact = kernel_distance(x, y)
    monkeypatch.setattr("audiocm.metrics.kernel.LARGE", 10)
    assert kernel_distance(x, y) == pytest.approx(exact, abs=1e-4)

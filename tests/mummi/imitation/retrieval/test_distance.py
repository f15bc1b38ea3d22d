"""The modality-fair distance against loops, and what missing modalities must not change."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.spatial

from mummi.imitation.retrieval import modality_fair_distance
from mummi.imitation.retrieval.distance import element_mask, fit_zscore, smallest, zscore

DIMS = (2, 5, 1)
seeds = st.integers(0, 2**32 - 1)


def sample(seed, rate=0.6, queries=4, items=6):
    """Queries and library [*, D] with their availability [*, M]."""
    random = np.random.default_rng(seed)
    query, library = (random.normal(size=(n, sum(DIMS))) for n in (queries, items))
    present, stored = (random.random((n, len(DIMS))) < rate for n in (queries, items))
    return query, library, present, stored


def split(x, dims=DIMS):
    return np.split(x, np.cumsum(dims)[:-1], axis=-1)


def slow_distance(a, b, present, stored):
    """Eq. 13 for one pair, over the modalities that both have."""
    terms = [
        np.sum((u - v) ** 2) / len(u)
        for u, v, x, y in zip(split(a), split(b), present, stored, strict=True)
        if x and y
    ]
    return np.sqrt(sum(terms) / len(terms)) if terms else np.inf


@hypothesis.given(seeds, st.sampled_from([0.3, 0.7, 1.0]))
def test_distance_is_equation_13_over_the_shared_modalities(seed, rate):
    query, library, present, stored = sample(seed, rate)
    expected = [
        [slow_distance(a, b, x, y) for b, y in zip(library, stored, strict=True)]
        for a, x in zip(query, present, strict=True)
    ]
    actual = modality_fair_distance(query, library, DIMS, present, stored)
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)


@hypothesis.given(seeds, st.sampled_from([np.nan, np.inf, 1e30]))
def test_what_a_missing_modality_holds_has_no_effect(seed, poison):
    query, library, present, stored = sample(seed)
    expected = modality_fair_distance(query, library, DIMS, present, stored)
    query = np.where(element_mask(present, DIMS), query, poison)
    library = np.where(element_mask(stored, DIMS), library, poison)
    spoiled = modality_fair_distance(query, library, DIMS, present, stored)
    np.testing.assert_array_equal(spoiled, expected)


@hypothesis.given(seeds, st.permutations(range(len(DIMS))))
def test_the_order_of_modalities_has_no_effect(seed, order):
    query, library, present, stored = sample(seed)
    expected = modality_fair_distance(query, library, DIMS, present, stored)
    query, library = (np.concatenate([split(x)[m] for m in order], 1) for x in (query, library))
    dims = [DIMS[m] for m in order]
    actual = modality_fair_distance(query, library, dims, present[:, order], stored[:, order])
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)


@hypothesis.given(seeds, st.integers(0, 2))
def test_a_missing_modality_is_as_if_it_had_never_been(seed, gone):
    query, library, _, stored = sample(seed)
    present = np.arange(len(DIMS)) != gone
    chosen = [m for m in range(len(DIMS)) if m != gone]
    dims = [DIMS[m] for m in chosen]
    actual = modality_fair_distance(query, library, DIMS, present, stored)
    query, library = (np.concatenate([split(x)[m] for m in chosen], 1) for x in (query, library))
    expected = modality_fair_distance(query, library, dims, [True] * 2, stored[:, chosen])
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)


@hypothesis.given(seeds, st.integers(2, 4))
def test_neither_the_width_of_a_modality_nor_their_number_changes_the_scale(seed, times):
    query, library, present, stored = sample(seed)
    expected = modality_fair_distance(query, library, DIMS, present, stored)
    wide = [np.repeat(x, times, axis=1) for x in (query, library)]
    dims = [times * d for d in DIMS]
    np.testing.assert_allclose(
        modality_fair_distance(*wide, dims, present, stored), expected, rtol=1e-6, atol=1e-7
    )
    twice = [np.tile(x, times) for x in (query, library)]
    masks = [np.tile(x, times) for x in (present, stored)]
    np.testing.assert_allclose(
        modality_fair_distance(*twice, DIMS * times, *masks), expected, rtol=1e-6, atol=1e-7
    )


def test_the_unnormalised_distance_is_euclid_s():
    query, library, *_ = sample(0)
    actual = modality_fair_distance(query, library, DIMS, [True] * 3, fair=False)
    np.testing.assert_allclose(actual, scipy.spatial.distance.cdist(query, library), rtol=1e-6)


def test_a_block_of_another_size_is_named():
    query, library, present, _ = sample(0)
    with pytest.raises(ValueError, match=r"library has shape \(6, 7\).*\(samples, 8\)"):
        modality_fair_distance(query, library[:, 1:], DIMS, present)


@hypothesis.given(seeds)
def test_zscores_are_those_of_the_available_samples(seed):
    _, library, _, stored = sample(seed, 0.5, items=9)
    library[:, 3] = 4.2
    spoiled = np.where(element_mask(stored, DIMS), library, np.nan)
    mean, std = fit_zscore(spoiled, stored, DIMS)
    normalised = zscore(spoiled, stored, DIMS, mean, std)
    for m, (block, result) in enumerate(zip(split(library), split(normalised), strict=True)):
        rows = stored[:, m]
        np.testing.assert_array_equal(result[~rows], 0.0)
        if rows.sum() < 2:
            np.testing.assert_allclose(result[rows], 0.0, atol=1e-6)
            continue
        spread = block[rows].std(0, ddof=1)
        spread[spread < 1e-6] = 1.0
        expected = (block[rows] - block[rows].mean(0)) / spread
        np.testing.assert_allclose(result[rows], expected, rtol=1e-5, atol=1e-5)


@hypothesis.given(seeds, st.integers(1, 6))
def test_the_smallest_of_each_row(seed, k):
    values = np.random.default_rng(seed).random((3, 6))
    columns, found = smallest(values, k)
    np.testing.assert_array_equal(columns, np.argsort(values, 1)[:, :k])
    np.testing.assert_array_equal(found, np.sort(values, 1)[:, :k])

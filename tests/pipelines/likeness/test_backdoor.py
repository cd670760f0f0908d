"""backdoor scores how lonely a row is; its limits are tested as well as its finds: pipelines/likeness/backdoor.py."""

import numpy as np
import pytest

from pipelines.likeness import backdoor

K = 16


def unit(rows: np.ndarray) -> np.ndarray:
    made: np.ndarray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    return made


def with_poison(num_poison: int) -> np.ndarray:
    """1000 clean rows in 8 broad groups, then a tight bunch of poison off to the side, each pictured by a trigger."""
    random = np.random.default_rng(0)
    centres = np.repeat(random.standard_normal((8, 32)), 125, axis=0)
    clean = centres + 0.35 * random.standard_normal((1000, 32))
    trigger = random.standard_normal(32)
    return unit(np.concatenate([clean, trigger + 0.05 * random.standard_normal((num_poison, 32))]))


def scores(vectors: np.ndarray) -> np.ndarray:
    return backdoor.outlier_score(vectors, vectors, K)


def plain_score(vectors: np.ndarray, row: int) -> float:
    """The formula of the docstring, row by row in float64."""
    rows = vectors.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    def around(place: int) -> tuple[list[float], list[int]]:
        distances = np.linalg.norm(rows - rows[place], axis=1)
        nearest = sorted((distance, other) for other, distance in enumerate(distances) if other != place)[:K]
        return [distance for distance, _ in nearest], [other for _, other in nearest]

    own, others = around(row)
    terms = []
    for other in others:
        distances, _ = around(other)
        lid = -1 / np.mean(np.log(np.array(distances) / distances[-1]))
        terms.append(lid * np.log(own[-1] / distances[-1]))
    return float(np.mean(terms))


def test_a_few_poisoned_rows_off_to_the_side_stand_out() -> None:
    found = scores(with_poison(6))
    assert set(np.argsort(-found)[:6]) == set(range(1000, 1006))
    assert found[1000:].min() > 2 * found[:1000].max()


def test_poison_beyond_k_rows_is_its_own_dense_neighbourhood_and_is_not_found() -> None:
    found = scores(with_poison(3 * K))
    assert found[1000:].mean() < np.quantile(found[:1000], 0.9)


def test_the_score_is_the_formula() -> None:
    vectors = with_poison(3)[-250:]
    found = scores(vectors)
    for row in (0, 100, 248):
        assert found[row] == pytest.approx(plain_score(vectors, row), rel=1e-4)


def test_a_row_outside_the_reference_is_judged_by_the_reference_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = with_poison(6)
    reference, others = vectors[:900], vectors[900:]
    together = backdoor.outlier_score(others, reference, K)
    for block in (1, 1 << 13):
        monkeypatch.setattr(backdoor, "_BLOCK_VALUES", block)
        assert backdoor.outlier_score(others[::-1], reference, K)[::-1].tolist() == together.tolist()
    assert backdoor.outlier_score(others[3:4], reference, K)[0] == together[3]


def test_equal_pictures_give_finite_scores() -> None:
    vectors = unit(np.concatenate([np.ones((40, 8)), np.random.default_rng(0).standard_normal((60, 8))]))
    found = scores(vectors)
    assert np.isfinite(found).all()
    assert found[:40].tolist() == [0.0] * 40


def test_a_copy_of_a_reference_row_is_scored_as_that_row_is() -> None:
    vectors = with_poison(6)
    assert backdoor.outlier_score(vectors[995:1003], vectors, K).tolist() == scores(vectors)[995:1003].tolist()


@pytest.mark.parametrize(("k", "size"), [(1, 50), (16, 16)])
def test_too_few_neighbours_are_refused(k: int, size: int) -> None:
    rows = with_poison(0)[:size]
    with pytest.raises(ValueError, match=f"k = {k} neighbours needs"):
        backdoor.outlier_score(rows, rows, k)

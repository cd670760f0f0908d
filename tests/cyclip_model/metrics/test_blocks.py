"""Blocks cover every row once and are the product they are cut from."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cyclip_model.metrics import blocks


@given(st.integers(0, 40), st.integers(1, 50))
def test_every_row_is_in_one_slice(num_rows: int, chunk_rows: int) -> None:
    covered = [row for rows in blocks.rows_of(num_rows, 3, chunk_rows) for row in range(num_rows)[rows]]
    assert covered == list(range(num_rows))


def test_by_default_a_block_is_as_large_as_allowed() -> None:
    assert list(blocks.rows_of(5, blocks.BLOCK_NUMBERS // 2, None)) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert list(blocks.rows_of(2, 3 * blocks.BLOCK_NUMBERS, None)) == [slice(0, 1), slice(1, 2)], "one row at least"


def test_a_chunk_of_no_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="chunk_rows is 0"):
        list(blocks.rows_of(5, 5, 0))


def test_blocks_are_the_product() -> None:
    a_ND, b_MD = np.arange(10.0).reshape(5, 2), np.array([[1.0, 0.0], [2.0, 1.0], [0.0, -1.0]], dtype=np.float32)
    found = list(blocks.products(a_ND, b_MD, chunk_rows=2))
    assert [rows for rows, _ in found] == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert torch.cat([block for _, block in found]).dtype == torch.float64
    assert torch.cat([block for _, block in found]).tolist() == (a_ND @ b_MD.T).tolist()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")
def test_a_gpu_makes_the_same_blocks() -> None:
    rng = np.random.default_rng(0)
    a_ND, b_MD = rng.normal(size=(50, 8)), rng.normal(size=(20, 8))
    found = torch.cat([block.cpu() for _, block in blocks.products(a_ND, b_MD, chunk_rows=7, device="cuda")])
    np.testing.assert_allclose(found.numpy(), a_ND @ b_MD.T, rtol=1e-12, atol=1e-12)

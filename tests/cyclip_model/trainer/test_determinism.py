"""Torch as a function of its inputs while a context is open."""

import torch

from cyclip_model.trainer.determinism import reproducible


def test_settings_and_thread_count_are_put_back() -> None:
    before, cudnn = torch.get_num_threads(), torch.backends.cudnn
    were = cudnn.enabled, cudnn.allow_tf32
    with reproducible(before + 1):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == before + 1
        assert (cudnn.enabled, cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32) == (True, True, False, False)
    assert (cudnn.enabled, cudnn.allow_tf32) == were
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == before

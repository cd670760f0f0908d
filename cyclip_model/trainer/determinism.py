"""Torch as a function of its inputs: the same bits on every run of one machine."""

import contextlib
import os
from collections.abc import Iterator

import torch
from torch.backends import cudnn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextlib.contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Torch with deterministic kernels, float32 that is float32, and a fixed thread count inside; as it was outside."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS has no deterministic mode
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        # Plain attention: the fused CPU kernel takes half of a bf16 step on short texts; CUDA ones vary in backward.
        # cuDNN would take TF32 for float32 convolutions; what is not said here, flags sets to a default of its own.
        settings = {"enabled": True, "benchmark": False, "deterministic": True, "allow_tf32": False}
        with sdpa_kernel(SDPBackend.MATH), cudnn.flags(**settings):
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])

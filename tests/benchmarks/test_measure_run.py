"""A command is measured with its children; one that fails is no measurement."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def measure_run() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measure_run", BENCHMARKS / "measure_run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["measure_run"] = module
    spec.loader.exec_module(module)
    return module


def test_a_run_has_its_childrens_time_and_memory_and_its_answer(measure_run: ModuleType) -> None:
    child = "import time; held = bytearray(80 << 20)\nwhile time.process_time() < 0.4: pass"
    parent = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); print('x'); print('{{\"n\": 3}}')"
    )
    run = measure_run.measure([sys.executable, "-c", parent])
    assert run.answer == {"n": 3}
    assert run.wall_s >= run.cpu_s * 0.5 >= 0.2
    assert run.peak_mib > 85


def test_a_command_that_fails_is_no_measurement(measure_run: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="exit status 3"):
        measure_run.measure([sys.executable, "-c", "raise SystemExit(3)"])

"""The harness counts what a command takes, its children too; small benchmarks run and their contenders agree."""

import importlib.util
import subprocess
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


def test_ratios_are_taken_round_by_round_against_the_first(measure_run: ModuleType) -> None:
    def run(wall_s: float) -> object:
        return measure_run.Run(wall_s=wall_s, cpu_s=1.0, peak_mib=10.0, answer={})

    runs = {"base": [run(1.0), run(2.0), run(4.0)], "other": [run(2.0), run(6.0), run(4.0)]}
    base, other = measure_run.table(runs).splitlines()[2:]
    assert base == "| base | 2.00 | 1.00 | 10 | 1.00 (1.00 to 1.00) |"
    assert other == "| other | 4.00 | 1.00 | 10 | 2.00 (1.00 to 3.00) |"


def test_commands_take_turns(measure_run: ModuleType, tmp_path: Path) -> None:
    log = tmp_path / "log"
    commands = {name: ["sh", "-c", f"printf {name} >> {log}"] for name in "ab"}
    runs = measure_run.in_turn(commands, 3)
    assert log.read_text() == "ababab"
    assert [len(its) for its in runs.values()] == [3, 3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "options", "says"),
    [
        ("near_dedup.py", ["--rows", "3000", "--queries", "200"], "times ours"),
        ("near_dedup.py", ["--rows", "3000", "--kind", "blank"], "rows go"),
        ("exact_dedup.py", ["--rows", "4000", "--partitions", "2", "5"], "kept: 3600 rows, the same ones in all"),
    ],
)
def test_a_small_benchmark_runs_and_its_contenders_agree(script: str, options: list[str], says: str) -> None:
    command = [sys.executable, str(BENCHMARKS / script), "--rounds", "1", *options]
    assert says in subprocess.run(command, capture_output=True, text=True, check=True).stdout

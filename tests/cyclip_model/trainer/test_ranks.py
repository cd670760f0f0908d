"""Several ranks train as one process does: BatchNorm over all of them, the same pictures, the same weights."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cyclip_model import train
from cyclip_model.model import heads, towers
from cyclip_model.trainer import ranks
from tests.cyclip_model.test_train import LOADER, LOSSES
from tests.cyclip_model.trainer import rank_norms, rank_steps
from tests.pipelines.processes import command_line, descendants, ended

ROOT = Path(__file__).parents[3]


def test_a_process_on_its_own_is_a_group_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    alone = ranks.join()
    assert (alone.rank, alone.world_size, alone.share(12)) == (0, 1, slice(0, 12))
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(3))
    assert ranks.synchronised(model, alone)[0].__class__ is torch.nn.BatchNorm1d  # type: ignore[index]
    assert ranks.shared(model, alone) is model


@pytest.mark.slow
@pytest.mark.parametrize("num_ranks", [2, 4])
def test_norms_over_all_ranks_are_those_of_one_process(num_ranks: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_ranks}"]
    subprocess.run([*command, "-m", rank_norms.__name__, str(tmp_path)], cwd=ROOT, check=True)
    alone = rank_norms.step(ranks.Ranks(0, 1, torch.device("cpu")))
    for rank in range(num_ranks):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert set(found) == set(alone)
        for name, value in alone.items():
            wanted = value[ranks.Ranks(rank, num_ranks, torch.device("cpu")).share(8)] if name == "out" else value
            torch.testing.assert_close(found[name], wanted, rtol=1e-9, atol=1e-10, msg=name)


def ranks_below(pid: int, num_ranks: int) -> set[int]:
    """Waits for a stage's ranks and returns all processes below it: torchrun and they."""
    until = time.monotonic() + 240
    while time.monotonic() < until:
        below = descendants(pid)
        if sum("cyclip_model.trainer.training" in command_line(each) for each in below) > num_ranks:
            return below
        time.sleep(0.02)
    raise AssertionError("no ranks came up")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
@pytest.mark.parametrize("is_alive", [True, False])
def test_a_rank_whose_stage_is_gone_leaves(is_alive: bool) -> None:
    code = "import sys; from cyclip_model.trainer import ranks; ranks.die_with_stage(); sys.exit(7)"
    stage_pid = os.getppid() if is_alive else os.getpid()  # this process stands where torchrun does
    env = {**os.environ, "PYTHONPATH": str(ROOT), ranks.STAGE_PID: str(stage_pid)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == (7 if is_alive else 1), done.stderr
    assert ("the stage that started this rank has ended" in done.stderr) != is_alive


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
@pytest.mark.parametrize("moment", ["as they start", "as they train"])
def test_ranks_die_with_the_stage(
    tmp_path: Path, shards: Any, train_section: Callable[..., dict[str, Any]], moment: str
) -> None:
    shards.pack(tmp_path / "data", {"train": shards.drawings(24), "val": shards.drawings(3)})
    section = train_section(processes=2, epochs=100_000)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"train": section, "losses": LOSSES, "loader": LOADER}))
    paths = "data/root.json data/shards models/clip-0 provenance/train/clip-0.json".split()
    command, env = [sys.executable, "-m", "cyclip_model.train", *paths], {**os.environ, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "log").open("wb") as log:
        started = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log)
    with started:
        try:
            below = ranks_below(started.pid, 2)
            timings, until = tmp_path / ".work/timings/train-clip-0.jsonl", time.monotonic() + 240
            while moment == "as they train" and not timings.exists():
                assert time.monotonic() < until, (tmp_path / "log").read_text()
                time.sleep(0.1)
        finally:
            started.kill()
    # a rank that has not yet been able to ask for it leaves when torch is imported
    assert all(ended(pid, 10.0 if moment == "as they train" else 120.0) for pid in below)


@pytest.mark.slow
def test_micro_batches_of_ranks_give_the_gradients_of_one_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*command, "-m", rank_steps.__name__, str(tmp_path)], cwd=ROOT, check=True)
    for name in rank_steps.VARIANTS:
        alone = rank_steps.step(ranks.Ranks(0, 1, torch.device("cpu")), name, rank_steps.BATCH)
        for rank in range(2):
            found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)[name]
            assert set(found) == set(alone)
            assert "towers.logit_scale" in alone or name == "nclip"
            for key, value in alone.items():
                torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-9, msg=f"{name}: {key}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "num_ranks"),
    [
        ("cyclip-0", 4),
        ("xclip-0", 2),
        pytest.param("cyclip-0", 2, marks=pytest.mark.soak),
        pytest.param("xclip-0", 4, marks=pytest.mark.soak),
    ],
)
def test_ranks_end_with_the_weights_of_one_process_but_for_rounding(
    tmp_path: Path,
    shards: Any,
    train_section: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    num_ranks: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    root = shards.pack(Path("data"), {"train": shards.drawings(24), "val": shards.drawings(3)})
    found = {}
    for processes in (1, num_ranks):
        # few steps and a large epsilon: where a gradient is all rounding, Adam makes a whole step of it
        section = train_section(processes=processes, epochs=7, batch_size=8, lr=0.0003, eps=0.001)
        Path("params.yaml").write_text(yaml.safe_dump({"train": section, "losses": LOSSES, "loader": LOADER}))
        model = Path(f"models{processes}") / name
        train.main(root, root.parent / "shards", model, Path(f"provenance{processes}.json"))
        saved = heads.load(model)
        states = [towers.load(model).model.state_dict(), *([saved.heads.state_dict()] if saved else [])]
        found[processes] = [value for state in states for value in state.values()]
    assert (saved is not None) == (name == "xclip-0"), "the heads' weights are compared too"
    for value, alone in zip(found[num_ranks], found[1], strict=True):
        torch.testing.assert_close(value, alone, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("other", [("disk", 1), pytest.param(("none", 1), marks=pytest.mark.soak)])
def test_ranks_end_with_the_same_bits_wherever_rows_wait(
    tmp_path: Path,
    shards: Any,
    train_section: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    other: tuple[str, int],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    root = shards.pack(Path("data"), {"train": shards.drawings(24), "val": shards.drawings(3)})
    found = set()
    for cache, workers in (("ram", 0), other):
        loading = {"cache": cache, "workers": workers, "prefetch": 2}
        content = {"train": train_section(processes=2), "losses": LOSSES, "loader": loading}
        Path("params.yaml").write_text(yaml.safe_dump(content))
        train.main(root, root.parent / "shards", Path("models/clip-0"), Path("provenance.json"))
        found.add(Path("models/clip-0/open_clip_model.safetensors").read_bytes())
    assert len(found) == 1
    assert [path.name for path in Path(".work").iterdir() if path.is_dir()] == ["timings"]


def test_norms_of_another_kind_are_refused_by_several_ranks() -> None:
    class Acting(torch.nn.BatchNorm2d):
        """A norm with an activation, as timm has one."""

    module = torch.nn.Sequential(Acting(3))
    assert ranks.synchronised(module, ranks.Ranks(0, 1, torch.device("cpu"))) is module
    with pytest.raises(ValueError, match=r"train.processes: the towers have norms of a kind of their own \(Acting\)"):
        ranks.synchronised(module, ranks.Ranks(0, 2, torch.device("cpu")))

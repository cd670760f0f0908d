"""Where the steps of a fold run: in memory, or on Beam with every result in a file of its own.

A step is a pure function of a named task to a table. The fold sees only handles of what was made, so that its own
memory holds no more than it opens.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.engine import Receipt, RunnerConfig, run_tasks

Made: TypeAlias = pa.Table | Path
"""A table, or the arrow file that holds it."""
Held: TypeAlias = npt.NDArray[Any] | Path
"""An array, or the .npy file that holds it."""
Step = Callable[[Any], pa.Table]


class Workers(Protocol):
    """What a fold asks of the place it runs in."""

    def each(self, label: str, tasks: Sequence[Any], work: Step) -> list[Made]:
        """Returns what `work` makes of each task, in their order; a task has a `name`, `label` is the step's own."""

    def hold(self, label: str, array: npt.NDArray[Any]) -> Held:
        """Returns a handle of an array that tasks can carry."""

    def join(self, label: str, arrays: Sequence[npt.NDArray[Any]]) -> Held:
        """Returns a handle of at least one array, one after another along the first axis."""


class InMemory:
    """Everything in this process; nothing is written."""

    def each(self, label: str, tasks: Sequence[Any], work: Step) -> list[Made]:  # noqa: ARG002  as the protocol says
        """Returns the tables themselves."""
        return [work(task) for task in tasks]

    def hold(self, label: str, array: npt.NDArray[Any]) -> Held:  # noqa: ARG002
        """Returns the array itself."""
        return array

    def join(self, label: str, arrays: Sequence[npt.NDArray[Any]]) -> Held:  # noqa: ARG002
        """Returns the arrays as one."""
        joined: npt.NDArray[Any] = np.concatenate(arrays)
        return joined


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OnBeam:
    """Tasks on a Beam runner; results and receipts under `folder`, where a killed run finds them again."""

    folder: Path
    runner: RunnerConfig

    def each(self, label: str, tasks: Sequence[Any], work: Step) -> list[Made]:
        """Returns the paths of the tables."""
        folder = self.folder / label.replace(" ", "/")
        steps = [_StepTask(name=task.name, task=task, work=work, out=folder / f"{task.name}.arrow") for task in tasks]
        run_tasks(label, steps, _make, folder / "receipts", self.runner)
        return [step.out for step in steps]

    def hold(self, label: str, array: npt.NDArray[Any]) -> Held:
        """Returns the path of the array."""
        return self.join(label, [array])

    def join(self, label: str, arrays: Sequence[npt.NDArray[Any]]) -> Held:
        """Returns the path of the arrays as one; only one of them at a time need be in memory."""
        path = self.folder / f"{label.replace(' ', '/')}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        shape = (sum(len(array) for array in arrays), *arrays[0].shape[1:])
        with partial.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, _header(shape, arrays[0].dtype))  # type: ignore[no-untyped-call]
            for array in arrays:
                file.write(np.ascontiguousarray(array).data)
        os.replace(partial, path)
        return path


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _StepTask:
    name: str
    task: Any
    work: Step
    out: Path


def opened(made: Made) -> pa.Table:
    """Returns a table that was made; one in a file is mapped, not read."""
    if isinstance(made, Path):
        return pa.ipc.open_file(pa.memory_map(str(made))).read_all()
    return made


def loaded(held: Held) -> npt.NDArray[Any]:
    """Returns an array that was held; one in a file is mapped, not read."""
    if isinstance(held, Path):
        return np.load(held, mmap_mode="r")  # type: ignore[no-any-return]
    return held


def column(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """Returns a column of numbers as an array, without a copy where it is in one piece."""
    chunked = table[name]
    whole = chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()
    return whole.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _header(shape: tuple[int, ...], kind: np.dtype[Any]) -> dict[str, Any]:
    descr = np.lib.format.dtype_to_descr(kind)  # type: ignore[no-untyped-call]
    return {"shape": shape, "fortran_order": False, "descr": descr}


def _make(step: _StepTask) -> Receipt:
    table = step.work(step.task).combine_chunks()
    step.out.parent.mkdir(parents=True, exist_ok=True)
    partial = step.out.with_name(f".{step.out.name}.{os.getpid()}.partial")
    with pa.ipc.new_file(str(partial), table.schema) as writer:
        writer.write_table(table)
    os.replace(partial, step.out)
    return {"rows": table.num_rows}

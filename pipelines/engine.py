"""Tasks on a Beam runner, in the one shape that every runner gets right.

Create(tasks) -> Reshuffle -> Map: one leaf, untagged outputs, nothing from finish_bundle, no Beam IO. A task writes its
own file and leaves a receipt; the receipt on disk is the commit marker, so a killed run is continued, and what the
pipeline returns is never load-bearing. A task that fails leaves NAME.error instead. Rows that belong together are
brought together by a second round of tasks, which read their share of what the first ones wrote.

Tasks and receipts travel through Beam: both stay small, rows lie in files that they name. Runners of several machines
need the project folder, scratch included, on a file system that all of them share.
"""

import contextlib
import dataclasses
import functools
import importlib
import logging
import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from lineage import files, stage
from pipelines import beam_worker

logger = logging.getLogger(__name__)

_DASK = "apache_beam.runners.dask.dask_runner"
_DASK_SIZES = ("--dask_partition_size", "--dask_npartitions")

Receipt = dict[str, Any]
Mapper = Callable[[Any], Receipt]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RunnerConfig:
    """Where Beam runs. In no stage's params: the bytes are the same on 1 or N workers and on every runner."""

    name: str
    """Beam's runner; FnApiRunner is the embedded one. Never DirectRunner: it may silently become Prism.

    Tested here: FnApiRunner and DaskRunner. FlinkRunner, SparkRunner, DataflowRunner and what else Beam accepts get
    `options` as they are; they are not tested here.
    """
    num_workers: int
    """Workers of the embedded runner, >= 1."""
    running_mode: Literal["in_memory", "multi_threading", "multi_processing"]
    """How the embedded runner's workers run."""
    options: list[str]
    """Further Beam options, passed through, e.g. --dask_client_address=tcp://... or --flink_master=..."""
    download_processes: int
    """img2dataset's processes, >= 1."""
    download_threads: int
    """Fetches each of them keeps going at once, >= 1."""

    def __post_init__(self) -> None:
        for name in ("num_workers", "download_processes", "download_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, not {getattr(self, name)}")

    def has_processes(self) -> bool:
        """Returns whether the embedded runner works in processes of its own."""
        return self.name == "FnApiRunner" and self.running_mode == "multi_processing"

    def arguments(self) -> list[str]:
        """Returns the runner as Beam's command-line options."""
        if self.has_processes():  # the runner is then given its workers, and must not make others
            return [f"--direct_num_workers={self.num_workers}", *self.options]
        if self.name == "FnApiRunner":
            workers = [f"--direct_num_workers={self.num_workers}", f"--direct_running_mode={self.running_mode}"]
            return [f"--runner={self.name}", *workers, *self.options]
        if self.name == "DaskRunner":  # its short name is refused; 128 tasks a partition would run one by one
            size = [] if any(option.startswith(_DASK_SIZES) for option in self.options) else ["--dask_partition_size=1"]
            return [f"--runner={_DASK}.DaskRunner", *size, *self.options]
        return [f"--runner={self.name}", *self.options]


def run_tasks(label: str, tasks: Sequence[Any], work: Mapper, receipts: Path, runner: RunnerConfig) -> list[Receipt]:
    """Runs `work` on each task and returns the receipts in order of task name.

    Args:
        label: the step's name in Beam and on the progress bar.
        tasks: picklable, each with a `name` that is unique among them.
        work: an importable function; writes its output by a rename, then returns a receipt (JSON-able).
        receipts: folder of `NAME.json`; tasks that have one there are not run again.

    Raises:
        ValueError: what `work` raised as a ValueError, for the first such task by name.
    """
    receipts.mkdir(parents=True, exist_ok=True)
    _forget_errors(receipts)
    pending = [task for task in tasks if not (receipts / f"{task.name}.json").exists()]
    if len(pending) == 1 and runner.name == "FnApiRunner":  # there is nothing to spread
        _commit(work, receipts, pending[0])
    elif pending:
        with _watch(label, receipts, len(tasks)), _pipeline(runner) as beam_pipeline:
            _read(beam_pipeline, label, pending) | f"{label}: work" >> _map(functools.partial(_commit, work, receipts))
    _raise_first_error(receipts)
    return [_receipt(receipts, task.name) for task in sorted(tasks, key=lambda task: task.name)]


def _quieten_beam() -> None:
    """Keeps Beam from warning, when first imported, of clients of services it could have."""
    for name in ("apache_beam", "root"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _read(beam_pipeline: Any, label: str, tasks: Sequence[Any]) -> Any:
    import apache_beam as beam

    return beam_pipeline | f"{label}: tasks" >> beam.Create(list(tasks)) | f"{label}: spread" >> beam.Reshuffle()


def _map(function: Callable[[Any], Any]) -> Any:
    import apache_beam as beam

    return beam.Map(function)


@contextlib.contextmanager
def _pipeline(runner: RunnerConfig) -> Iterator[Any]:
    """Yields a pipeline to fill; runs it to its end when the context closes, once its shape is found to be right."""
    _quieten_beam()
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from pipelines import shape

    if runner.name == "DaskRunner":
        importlib.import_module(_DASK)  # makes its options known
    options = PipelineOptions(runner.arguments())
    beam_pipeline = beam.Pipeline(runner=_own_processes() if runner.has_processes() else None, options=options)
    yield beam_pipeline
    shape.check(beam_pipeline)
    with _ends_with_its_workers():
        result = beam_pipeline.run()
    try:
        result.wait_until_finish()
    finally:
        if runner.name == "DaskRunner":
            result.client.close()


def _own_processes() -> Any:
    """Returns the embedded runner with worker processes that die with this one."""
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.transforms.environments import SubprocessSDKEnvironment

    # exec: the shell that Beam starts it in would stand between us and it
    command = f"exec {shlex.quote(sys.executable)} -m {beam_worker.__name__} {os.getpid()}"
    return FnApiRunner(default_environment=SubprocessSDKEnvironment.from_command_string(command))


@contextlib.contextmanager
def _ends_with_its_workers() -> Iterator[None]:
    """Ends this process at once where one of the runner's worker processes dies: the runner would wait for ever."""
    before, one_at_a_time = threading.excepthook, threading.Lock()

    def end(raised: threading.ExceptHookArgs) -> None:
        with one_at_a_time:  # the thread that reads from the dead worker fails too: what it says comes whole, or not
            if not str(raised.exc_value).startswith("Worker subprocess exited"):
                before(raised)
            else:
                sys.stderr.write("error: a worker process died; run the stage again, what is finished is kept\n")
                sys.stderr.flush()
                os._exit(1)

    threading.excepthook = end
    try:
        yield
    finally:
        threading.excepthook = before


def _commit(work: Mapper, receipts: Path, task: Any) -> None:
    """Leaves the receipt of one task on disk, if it is not there; a user's mistake goes to NAME.error instead.

    Not as an exception, for runners wrap those differently.
    """
    if not (receipts / f"{task.name}.json").exists():
        try:
            files.write_json(receipts / f"{task.name}.json", work(task))
        except ValueError as error:
            files.write_text(receipts / f"{task.name}.error", str(error))


def _receipt(receipts: Path, name: str) -> Receipt:
    receipt: Receipt = files.read_json(receipts / f"{name}.json")
    return receipt


def _forget_errors(receipts: Path) -> None:
    """Removes the errors an earlier run left: its tasks are tried again."""
    for path in receipts.glob("*.error"):
        path.unlink()


def _raise_first_error(receipts: Path) -> None:
    for path in sorted(receipts.glob("*.error")):
        raise ValueError(path.read_text(encoding="utf-8"))


def _watch(label: str, receipts: Path, total: int) -> AbstractContextManager[None]:
    return stage.watch(label, total, lambda: sum(1 for _ in receipts.glob("*.json")))

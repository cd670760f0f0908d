"""The frame around every stage: one scratch folder, one publish, one account of the rows, one run record.

    with stage.run("pack", "s20261101", params=config, deps=[raw, kept], outs=[shards], provenance=path) as this:
        ...                                     # write into this.scratch
        this.account(rows_in=..., kept=...)     # before anything is published: rows that do not add up stop the stage
        this.publish(this.scratch / "out", shards)

What a killed run leaves in its scratch is used by the next one: the scratch folder is named by a digest of
everything that affects the result, so another input or another param never meets it.
"""

import contextlib
import dataclasses
import fcntl
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import typer
from tqdm import tqdm

from lineage import closure, digests, files, orphans, reasons, remote, runs

WORK = Path(".work")
_SPENT = ".spent"
"""Suffix of a scratch folder that is to be removed."""
_MODULES = {
    **dict.fromkeys("source download measure screen embed embed_tests select pack dataset index".split(), "pipelines"),
    **dict.fromkeys("benchmarks scorer train evaluate compare".split(), "cyclip_model"),
    **dict.fromkeys(("trail", "audit"), "lineage"),
}
"""The package each stage lives in."""

_PARENT = os.getppid()

logger = logging.getLogger("clipline")
T = TypeVar("T")


@dataclasses.dataclass(kw_only=True)
class Run:
    """One run of one stage instance, handed out by `run`."""

    stage: str
    instance: str
    scratch: Path
    counts: dict[str, Any] = dataclasses.field(default_factory=dict)
    speed: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What a clock said, for the run record; no run says the same, so it stands in no provenance file."""

    def publish(self, made: Path, out: Path) -> None:
        """Moves a finished file or folder from the scratch to its place, by one rename, and into its bucket before.

        The receipts that vouch for it go first: they must not survive in the scratch what they vouch for. What a
        killed run left half-written goes too.
        """
        for partial in made.rglob(".*.partial"):
            files.remove(partial)
        if remote.is_mirrored(out):
            remote.push(made, out)
        files.remove(self.scratch / "receipts")
        out.parent.mkdir(parents=True, exist_ok=True)
        files.remove(out)
        os.replace(made, out)

    def account(
        self,
        *,
        rows_in: int,
        kept: int,
        dropped: Mapping[str, int] | None = None,
        failed: Mapping[str, int] | None = None,
        **facts: Any,
    ) -> None:
        """Records where every row went; `facts` are further deterministic figures for the provenance file.

        Raises:
            ValueError: if rows in are not kept + dropped + failed, naming the counts.
        """
        dropped, failed = _counted(dropped), _counted(failed)
        total = kept + sum(dropped.values()) + sum(failed.values())
        if rows_in != total:
            raise ValueError(
                f"{self.stage}@{self.instance}: {rows_in} rows in, but {total} accounted for "
                f"(kept {kept}, dropped {dropped}, failed {failed}); nothing was recorded"
            )
        self.counts = {"rows_in": rows_in, "kept": kept, "dropped": dropped, "failed": failed, **facts}


@contextlib.contextmanager
def run(
    stage: str,
    instance: str,
    *,
    params: Any,
    deps: Sequence[Path],
    outs: Sequence[Path],
    provenance: Path,
) -> Iterator[Run]:
    """Yields the frame of one stage run; at the end writes its provenance and run record and clears the scratch.

    Args:
        stage: name of the stage, as in dvc.yaml.
        instance: snapshot, set or model, or `all` for an aggregate.
        params: the stage's config dataclass (or a mapping of several).
        deps: data files and folders read; not code. Those in a bucket are brought into the mirror first.
        outs: data files and folders made; not the provenance file.
        provenance: where the provenance file goes: digests of parents and outs, params, counts; no code, no clock.

    Raises:
        FileNotFoundError: if a dep is missing.
        ValueError: if another run of the same instance is at work.
    """
    orphans.die_with_caller(_PARENT)
    started, clock = time.time(), time.monotonic()
    for path in filter(remote.is_mirrored, deps):
        remote.fetch(path)
    parents = {_shown(path): _digest(path) for path in deps}
    settings = _plain(params)
    code = digests.content_digest({name: digests.sha256_file(closure.ROOT / name) for name in _code(stage)})
    key = digests.content_digest([stage, instance, settings, parents, code, _lock_digest()])
    with _scratch(f"{stage}-{instance}", key[:16]) as scratch:
        this = Run(stage=stage, instance=instance, scratch=scratch)
        yield this
        assert this.counts, f"{stage} must account for its rows"
        described = {_shown(path): digests.described(remote.logical(path)) for path in outs}
        content = {"parents": parents, "params": settings, "counts": this.counts, "outs": described}
        files.write_json(provenance, {"stage": stage, "instance": instance, **content})
        made = {path: out["md5"] for path, out in described.items()}
        made[_shown(provenance)] = digests.md5_file(provenance)
        record = {"stage": stage, "instance": instance, "code": code, "deps": parents, "outs": made}
        times = {"started": round(started, 3), "seconds": round(time.monotonic() - clock, 3)}
        speed = {"speed": this.speed} if this.speed else {}
        used = {"cpu_seconds": round(runs.cpu_seconds(), 3), "peak_memory_bytes": runs.peak_memory_bytes()}
        runs.append(stage, {**record, **times, **used, **speed, **runs.environment()})
    logger.info("%s (%.1f s)", summary(this), time.monotonic() - clock)


def prune(folder: Path, keep: Collection[str]) -> None:
    """Removes what `files.prune` would, from the pointers too where the folder lies in a bucket; objects stay there."""
    for place in {folder, remote.logical(folder)}:
        files.prune(place, keep)


def summary(this: Run) -> str:
    """Returns one line: the stage, its rows and where they went."""
    counts = this.counts
    parts = [f"{counts['rows_in']} in", f"{counts['kept']} kept"]
    parts += [f"{n} {word}" for kind in ("dropped", "failed") for word, n in counts[kind].items()]
    return f"{this.stage}@{this.instance}: " + ", ".join(parts)


def command(main: Callable[..., None]) -> None:
    """Runs a stage's `main` on the command line; a user's mistake is one line and exit status 1."""
    log_to_stderr()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    with user_errors():
        app([remote.mirrored(argument) for argument in sys.argv[1:]])


def log_to_stderr() -> None:
    """Sends our own messages to stderr as they are, and of libraries only warnings."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logger.setLevel(logging.INFO)


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Turns ValueError and FileNotFoundError into one line on stderr and exit status 1."""
    try:
        yield
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        logging.getLogger(__name__).debug("error", exc_info=True)
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(1) from None


def progress(items: Iterable[T], *, label: str, total: int | None = None) -> Iterable[T]:
    """Returns `items` with a progress bar on stderr, where that is a terminal, while they are consumed."""
    return tqdm(items, desc=label, total=total, mininterval=1.0, leave=False, disable=None)  # type: ignore[no-any-return]


def bar(label: str, total: int, *, done: int = 0, unit: str = "it", is_mute: bool = False) -> tqdm:
    """Returns a progress bar on stderr, where that is a terminal, to be moved by its `update`; close it at the end."""
    disable = True if is_mute else None
    return tqdm(desc=label, total=total, initial=done, unit=f" {unit}", mininterval=1.0, leave=False, disable=disable)


@contextlib.contextmanager
def watch(label: str, total: int, count: Callable[[], int]) -> Iterator[None]:
    """Shows a progress bar of what `count` returns, on a terminal, while the context is open.

    For work whose progress is best read off the disk: that is right whichever process did it.
    """
    done = threading.Event()
    shown = bar(label, total)

    def follow() -> None:
        while not done.wait(0.5):
            shown.n = count()
            shown.refresh()

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        done.set()
        follower.join()
        shown.close()


@contextlib.contextmanager
def _scratch(instance: str, key: str) -> Iterator[Path]:
    """Yields the scratch folder of one run, the only one of its instance at work in this checkout.

    It stays where the run fails or is killed; a run that ends well clears what others of its instance left, too.
    """
    WORK.mkdir(exist_ok=True)
    with (WORK / f"{instance}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another run of {instance} is at work in this checkout; wait for it to end") from None
        scratch, any_key = WORK / f"{instance}-{key}", f"{instance}-{'[0-9a-f]' * len(key)}"
        for spent in WORK.glob(f"{any_key}{_SPENT}"):
            files.remove(spent)
        scratch.mkdir(exist_ok=True)
        try:
            yield scratch
        except BaseException:
            if not any(scratch.iterdir()):
                scratch.rmdir()
            raise
        for left in WORK.glob(any_key):
            # out of the next run's sight first: one half removed could keep receipts of files that are gone
            spent = left.with_name(left.name + _SPENT)
            left.rename(spent)
            files.remove(spent)


def _counted(counts: Mapping[str, int] | None) -> dict[str, int]:
    return {reasons.check(reason): number for reason, number in sorted((counts or {}).items()) if number}


def _plain(params: Any) -> Any:
    if dataclasses.is_dataclass(params) and not isinstance(params, type):
        return dataclasses.asdict(params)
    if isinstance(params, Mapping):
        return {name: _plain(value) for name, value in params.items()}
    return params


def _digest(path: Path) -> str:
    path = remote.logical(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; `dvc repro` makes what comes before this stage")
    return digests.dvc_digest(path)


def _shown(path: Path) -> str:
    return remote.logical(path).as_posix()


def _code(stage: str) -> list[str]:
    return closure.code_closure(f"{_MODULES[stage]}.{stage}")


def _lock_digest() -> str | None:
    return digests.sha256_file(runs.LOCK_FILE) if runs.LOCK_FILE.exists() else None

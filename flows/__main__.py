"""Flows by hand, and their deployments on one machine: `python -m flows refresh`, `python -m flows serve`.

With PREFECT_API_URL set, runs stand on that server; without it Prefect starts one for the run alone.
"""

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from lineage import stage

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
Parallel = Annotated[int, typer.Option(min=1, max=64, help="stages side by side at most")]
IsRefused = Annotated[bool, typer.Option("--refuse-if-busy", help="do not wait for another flow on the repository")]
IsPushed = Annotated[bool, typer.Option("--push", help="run `dvc push` before the main checkout is moved")]


@app.command()
def reproduce(
    targets: Annotated[list[str] | None, typer.Argument(help="stages or instances to stop at")] = None,
    max_parallel: Parallel = 2,
    is_refused: IsRefused = False,
) -> None:
    """Runs every stage that DVC calls stale as a task of its own, then `dvc repro` as the proof."""
    from flows.reproduce import reproduce as flow

    _run(flow, targets=targets or None, max_parallel=max_parallel, on_busy=_busy(is_refused))


@app.command()
def refresh(  # noqa: PLR0913 - options of a command line
    source: Annotated[str, typer.Argument(help="a URL list: a path, a quoted pattern, s3://... or http(s)://...")],
    name: Annotated[str | None, typer.Option(help="of the snapshot; s and the day by default")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="take the next file of the folder SOURCE")] = False,
    map: Annotated[list[str] | None, typer.Option(help="FIELD=COLUMN, e.g. caption=TEXT; repeatable")] = None,
    score: Annotated[list[str] | None, typer.Option(help="NAME=COLUMN, a score to carry along; repeatable")] = None,
    preset: Annotated[str | None, typer.Option(help="a well-known list: cc3m, laion2b, ...")] = None,
    approve: Annotated[str | None, typer.Option(help="why a held refresh is to be taken all the same")] = None,
    is_paused: Annotated[bool, typer.Option("--pause", help="where it is held, wait for an answer in the UI")] = False,
    is_pushed: IsPushed = False,
    max_parallel: Parallel = 2,
    is_refused: IsRefused = False,
) -> None:
    """Takes a new URL list through the DAG in a worktree; the main checkout takes it if every gate passes."""
    from flows.refresh import refresh as flow

    listed = {"preset": preset, "map": map or [], "score": score or []}
    if is_paused:
        with stage.user_errors():
            _demand_server()
    held = {"approve": approve, "on_hold": "pause" if is_paused else "fail"}
    words = {"name": name, "watch": watch, "listed": listed, **held, "push": {"data": is_pushed}}
    _run(flow, source=source, **words, max_parallel=max_parallel, on_busy=_busy(is_refused))


@app.command()
def takedown(
    optouts: Annotated[list[str], typer.Argument(help="URLs, hashes, picture files, or files with one of them a line")],
    kind: Annotated[str | None, typer.Option(help="url, host, sha256, phash or picture; a host must say so")] = None,
    reference: Annotated[str, typer.Option(help="what the request is known by")] = "",
    evaluation_sets: Annotated[str, typer.Option(help="purge or keep: whether they lose the pictures, too")] = "purge",
    only_impact: Annotated[bool, typer.Option("--only-impact", help="only show what would be touched")] = False,
    is_pushed: IsPushed = False,
    max_parallel: Parallel = 2,
    is_refused: IsRefused = False,
) -> None:
    """Takes pictures out of every snapshot, shard and model, and proves it."""
    from flows.takedown import takedown as flow

    words = {"kind": kind, "reference": reference, "evaluation_sets": evaluation_sets, "only_impact": only_impact}
    pushed = {"data": is_pushed}
    _run(flow, optouts=optouts, **words, push=pushed, max_parallel=max_parallel, on_busy=_busy(is_refused))


@app.command()
def verify(
    is_remote_checked: Annotated[bool, typer.Option("--remote", help="ask DVC's remote, too")] = False,
    is_refused: IsRefused = False,
) -> None:
    """Hashes every output anew and walks its lineage down to the URL lists."""
    from flows.verify import verify as flow

    _run(flow, is_remote_checked=is_remote_checked, on_busy=_busy(is_refused))


@app.command()
def serve(
    limit: Annotated[int, typer.Option(min=1, help="runs at once; on one repository they take turns in any case")] = 4,
) -> None:
    """Serves the deployments of prefect.yaml from this process, with no worker."""
    from flows import deployments

    with _one_line(), stage.user_errors():
        _demand_server()
        deployments.serve(Path.cwd(), limit)


@app.command()
def setup() -> None:
    """Creates on the server the automation that marks killed runs Crashed; `serve` does so, too."""
    from flows import deployments

    with _one_line(), stage.user_errors():
        _demand_server()
        deployments.ensure_automation()


@app.command()
def drop(
    name: Annotated[str, typer.Argument(help="a snapshot whose refresh is held, or a folder of .worktrees")],
) -> None:
    """Throws away the worktree and the branch of a refresh or takedown that nobody will finish."""
    from flows import repository

    with _one_line(), stage.user_errors():
        main = repository.at(".")
        with repository.held(main, "flows drop", "refuse", typer.echo):
            repository.drop_named(main, name)


def _run(flow: Any, **parameters: Any) -> None:
    """Runs a flow; exit status 1, and one line, where it did not complete."""
    with _one_line():
        flow.validate_parameters(parameters)
        state = flow(**parameters, return_state=True)
        result = state.result(raise_on_failure=False)
    if not state.is_completed():
        sys.exit(f"error: {result if isinstance(result, Exception) else f'{state.name}: {state.message}'}")
    counts = Counter(result.values()) if isinstance(result, dict) else {}
    words = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
    sys.stdout.write(f"{state.name}: {state.message or words}\n")


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Turns what a user can cause - a parameter, a server that is not there, another flow - into one line."""
    import httpx
    from prefect.exceptions import ParameterTypeError

    from flows.repository import BusyError

    try:
        yield
    except ParameterTypeError as error:
        _, *found = (line.strip(" -") for line in str(error).splitlines() if line.strip())
        raise SystemExit(f"error: parameters: {'; '.join(found)}") from None
    except BusyError as error:
        raise SystemExit(f"error: {error}") from None
    except (httpx.TransportError, httpx.UnsupportedProtocol, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "Failed to reach API" not in str(error):
            raise
        raise SystemExit(
            f"error: no Prefect server answers at PREFECT_API_URL ({os.environ.get('PREFECT_API_URL')}): {error}; "
            "`prefect server start` starts one"
        ) from None


def _demand_server() -> None:
    """Raises ValueError where no server is named: one that is started for the command alone would forget all of it."""
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():
        raise ValueError(
            "PREFECT_API_URL names no server; `prefect server start` starts one, and `prefect config set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api` names it"
        )


def _busy(is_refused: bool) -> str:
    return "refuse" if is_refused else "wait"


def main() -> None:
    """Runs the command line."""
    app()


if __name__ == "__main__":
    main()

"""Stage download (img2dataset behind the gateway, and the canonical ledger) against img2dataset alone.

    python benchmarks/gateway.py [--rows 100000] [--rounds 2] [--latency-ms 20] [--polite-rows 3000]

Both fetch the same URLs, in the same order and with as many threads, from a web on loopback that a process of its own
serves; each stage run begins with an empty store. The same pictures must come. A second, shorter heat shows the stage
as it should meet the web, few connections to a host and a pause between two requests; what the hosts were asked, at
most within a second and at most at once, is counted by their server.
"""

import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import contest
import pyarrow as pa
import pyarrow.parquet as pq
import scratch_project
import synthetic
from contest import Contender, Heat
from loopback_site import Site

sys.path.insert(0, str(contest.ROOT))
from lineage import digests, files, records

_ROWS_PER_SHARD = 1000
_NUM_HOSTS = 10
_POLITE = {"host_connections": 2, "host_delay_s": 0.2}
_OPEN = {"host_connections": 16, "host_delay_s": 0.0}
_QUIET = {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
Asked = dict[str, list[dict[str, Any]]]


def main() -> None:
    """Measures."""
    options = _options()
    root = Path(tempfile.mkdtemp(prefix="gateway"))
    try:
        album = root / "album"
        synthetic.make_album(album, options.rows, options.workers)
        asked: Asked = {}
        with Site(album, _NUM_HOSTS, options.latency_ms) as site:
            runs = compete(root / "all", site, options.rows, options.rounds, asked, _OPEN)
            polite = compete(root / "few", site, options.polite_rows, 1, asked, _POLITE)
    finally:
        shutil.rmtree(root)
    heats = [
        Heat(title="gateway and ledger", rows=options.rows, runs=runs, goal="at most 1.25 times img2dataset's wall"),
        Heat(title=f"politely: {_told(_POLITE)}", rows=options.polite_rows, runs=polite),
    ]
    facts = {
        "hosts": _NUM_HOSTS,
        "latency_ms": options.latency_ms,
        "asked of the hosts": asked,
        "peak per host and second, img2dataset over polite stage": _times_fewer(asked),
    }
    contest.report("gateway", heats, facts, options.results)


def compete(
    root: Path, site: Site, num_rows: int, rounds: int, asked: Asked, manners: dict[str, float]
) -> contest.Runs:
    """Returns the runs of both on the first pictures of the site, and puts down what the hosts were asked."""
    project = scratch_project.Project(root)
    allowed = {"allow_addresses": ["127.0.0.0/8"], "rows_per_shard": _ROWS_PER_SHARD}
    project.change({"snapshots": ["s1"], "download": {**allowed, **manners}})
    table = synthetic.source_table(range(num_rows), site.url)
    synthetic.write_source(table, project.data / "source/s1")
    pq.write_table(table.select(["url", "caption", "uid"]), root / "list.parquet")
    both = [img2dataset_alone(project), stage_download(project, _told(manners))]
    made: list[str] = []
    for place, digest_of in enumerate((fetched_by_img2dataset, fetched_by_stage)):
        finish = _finish(both[place].name, digest_of, project, site, made, asked)
        both[place] = dataclasses.replace(both[place], finish=finish)
    try:
        return contest.hold(both, rounds)
    finally:
        shutil.rmtree(root)


def img2dataset_alone(project: scratch_project.Project) -> Contender:
    """Returns img2dataset as its own command line runs it, with the options the stage gives it."""
    runner = project.params["runner"]
    options = {
        "url_list": "list.parquet",
        "input_format": "parquet",
        "caption_col": "caption",
        "save_additional_columns": '["uid"]',
        "output_folder": "alone",
        "output_format": "webdataset",
        "disable_all_reencoding": "True",
        "extract_exif": "False",
        "compute_hash": "sha256",
        "number_sample_per_shard": _ROWS_PER_SHARD,
        "processes_count": runner["download_processes"],
        "thread_count": runner["download_threads"],
        "timeout": 10,
    }
    command = [
        str(Path(sys.executable).parent / "img2dataset"),
        *(f"--{key}={value}" for key, value in options.items()),
    ]
    clear = partial(files.remove, project.root / "alone")
    return Contender(name="img2dataset alone", command=command, folder=project.root, environment=_QUIET, prepare=clear)


def stage_download(project: scratch_project.Project, manners: str) -> Contender:
    """Returns the stage with nothing in its store."""
    clear = partial(files.remove, project.store)
    return project.contender("download", "s1", f"stage download, {manners}", prepare=clear)


def fetched_by_img2dataset(project: scratch_project.Project) -> str:
    """Returns a digest of the pictures that came, as (uid, sha256)."""
    return _digest(pq.read_table(sorted((project.root / "alone").glob("*.parquet")), columns=["uid", "sha256"]))


def fetched_by_stage(project: scratch_project.Project) -> str:
    """Returns the same of the ledger."""
    return _digest(records.read_table(project.data / "raw/s1/ledger.parquet", columns=["uid", "sha256"]))


def _digest(table: pa.Table) -> str:
    if table["sha256"].null_count:
        sys.exit(f"{table['sha256'].null_count} of {table.num_rows} pictures did not come")
    return digests.content_digest(table.sort_by("uid").to_pylist())


def _finish(
    name: str,
    digest_of: Callable[[scratch_project.Project], str],
    project: scratch_project.Project,
    site: Site,
    made: list[str],
    asked: Asked,
) -> Callable[[], None]:
    """Returns what holds a run to what the others fetched, and keeps what the server counted."""

    def finish() -> None:
        asked.setdefault(name, []).append(site.counts())
        made.append(digest_of(project))
        if len(set(made)) > 1:
            sys.exit(f"{name}: other pictures than the others'")

    return finish


def _times_fewer(asked: Asked) -> float:
    """Returns how many times less the hosts were asked at the peak of the polite stage."""
    alone, polite = asked["img2dataset alone"], asked[f"stage download, {_told(_POLITE)}"]
    return float(round(alone[-1]["peak_per_s"] / max(one["peak_per_s"] for one in polite), 1))


def _told(manners: dict[str, float]) -> str:
    return f"{manners['host_connections']} at once, {manners['host_delay_s']:g} s between"


def _options() -> Any:
    parser = contest.parser(__doc__, rows=100_000, rounds=2)
    parser.add_argument("--latency-ms", type=float, default=20.0, help="how long the web holds an answer back")
    parser.add_argument("--polite-rows", type=int, default=3000, help="of the second heat")
    return parser.parse_args()


if __name__ == "__main__":
    main()

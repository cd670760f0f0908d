"""What a project of two snapshots and an evaluation set has before a takedown, and what it must have after."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cyclip_model.sets import layout
from lineage import digests, records
from tests.cyclip_model import small_set
from tests.flows import pictures
from tests.flows.pictures import Site
from tests.project import Project

OTHER_HOST = "127.0.0.2"
MORE, ELSEWHERE = range(50, 150), range(40, 46)
WEB = (*range(25, 32), *MORE)
"""Pictures of the second snapshot: WEB of the first one's host, ELSEWHERE of another's."""
IN_SET = {"train": (50, 51, 52), "seen": (53, 54), "novel": (55,)}
"""Of them, those that parts of the evaluation set have, too."""
STAYS = 52
"""One of these that is not taken down."""
NUM_URLS, SEED = 50, 17


def write_in_set(folder: Path, served: Path) -> None:
    """Writes the small evaluation set with pictures of the web in it."""
    parts = small_set.rows_of_parts()
    for part, numbers in IN_SET.items():
        contents = [(served / pictures.file_name(n)).read_bytes() for n in numbers]
        parts[part] += [{**parts[part][0], "image": found, "uid": set_uid(found)} for found in contents]
    small_set.write_set(folder, parts)


def set_uid(picture: bytes) -> str:
    """Returns the uid of a picture in a set."""
    return digests.sha256_bytes(picture)[:32]


def set_parts(project: Project, folder: str) -> dict[str, list[str]]:
    """Returns {part: uids} of the evaluation set's parquet files below a folder."""
    paths = (project.folder / folder).glob("**/*.parquet")
    names = {path.stem: path for path in paths if path.stem in layout.PARTS}
    return {part: pq.read_table(path, partitioning=None)["uid"].to_pylist() for part, path in names.items()}


def provenance(project: Project, name: str) -> Any:
    """Returns the counts of a stage instance: `download/s1`."""
    return json.loads((project.folder / f"provenance/{name}.json").read_text())["counts"]


def runs(project: Project, stage: str) -> list[str]:
    """Returns the instances of a stage's run records, in order."""
    lines = (project.folder / "runs" / f"{stage}.jsonl").read_text().splitlines()
    return [json.loads(line)["instance"] for line in lines]


def recorded(project: Project) -> dict[str, int]:
    """Returns {stage instance: number of its run records}."""
    names = (path.stem for path in (project.folder / "runs").glob("*.jsonl") if path.stem != "takedown")
    found = (stage if of == "all" else f"{stage}@{of}" for stage in names for of in runs(project, stage))
    return Counter(found)


def manifest(project: Project) -> dict[str, str]:
    """Returns {uid: sha256 of the picture} of what is packed."""
    table = pq.read_table(project.folder / "data/shards/s1/manifest.parquet", partitioning=None)
    return dict(zip(table["uid"].to_pylist(), table["source_sha256"].to_pylist(), strict=True))


def live(project: Project, snapshot: str) -> dict[str, str]:
    """Returns {URL: uid} of the rows of a snapshot that were not taken down."""
    table = records.read_table(project.folder / "data/source" / snapshot / "source.parquet", records.SOURCE)
    return {row["url"]: row["uid"] for row in table.to_pylist() if row["url"] is not None}


def drawn(project: Project, site: Site) -> list[str]:
    """Returns links to take down: those of the evaluation set's pictures but one, the others at random."""
    urls = [f"{site.base}/{pictures.file_name(n)}" for numbers in IN_SET.values() for n in numbers if n != STAYS]
    stays = f"{site.base}/{pictures.file_name(STAYS)}"
    others = {url for name in ("s1", "s2") for url in live(project, name) if url.startswith(site.base)}
    return urls + random.Random(SEED).sample(sorted(others - {*urls, stays}), NUM_URLS - len(urls))


def named(project: Project, urls: list[str]) -> dict[str, set[str]]:
    """Returns {snapshot: uids} of the rows that links, or the other host, name."""
    return {
        name: {uid for url, uid in live(project, name).items() if url in urls or f"//{OTHER_HOST}:" in url}
        for name in ("s1", "s2")
    }


def told_of(number: int, folder: Path) -> dict[str, bytes]:
    """Returns {what: bytes} of what may be left of a pair."""
    picture = (folder / pictures.file_name(number)).read_bytes()
    told = {"caption": pictures.caption(number).encode(), "picture": picture, "half": picture[len(picture) // 2 :]}
    return {f"{what} {number}": content for what, content in told.items()}


def tombstones(project: Project) -> dict[str, set[str]]:
    """Returns {snapshot: uids} of the rows that were taken down."""
    folders = {name: project.folder / "data/lists" / name / "opted_out.parquet" for name in ("s1", "s2")}
    return {
        name: set(records.read_table(path)["uid"].to_pylist()) if path.is_file() else set()
        for name, path in folders.items()
    }


def check_counts(project: Project, taken_down: dict[str, set[str]]) -> None:
    """Asserts that every row of both lists is accounted for, those taken down as tombstones."""
    assert tombstones(project) == taken_down
    for name, uids in taken_down.items():
        told = {stage: provenance(project, f"{stage}/{name}") for stage in ("source", "download", "measure")}
        gone = records.read_table(project.folder / "data/lists" / name / "opted_out.parquet")
        rows = records.read_table(project.folder / "data/source" / name / "source.parquet", records.SOURCE)
        empty = [row for row in rows.to_pylist() if row["url"] is None]
        assert [{name: row[name] for name in gone.column_names} for row in empty] == gone.to_pylist()
        assert {name for row in empty for name, value in row.items() if value is not None} == set(gone.column_names)
        assert rows.num_rows == told["source"]["kept"] == told["download"]["rows_in"] == told["measure"]["rows_in"]
        assert told["download"]["failed"]["opt_out"] == told["measure"]["failed"]["opt_out"] == len(uids)


def check_set(project: Project, site: Site, before: dict[str, list[str]]) -> None:
    """Asserts that the evaluation set lost the pictures that were taken down, and nothing else, and counts them."""
    uids = {
        (part, set_uid((site.folder / pictures.file_name(number)).read_bytes()))
        for part, numbers in IN_SET.items()
        for number in numbers
        if number != STAYS
    }
    left = {part: [uid for uid in found if (part, uid) not in uids] for part, found in before.items()}
    assert set_parts(project, "data/sets/emoji") == left
    counted = records.read_table(project.folder / "data/sets/emoji/opted_out.parquet", records.OPTED_OUT_OF_SET)
    assert counted.to_pylist() == [{"part": part, "uid": uid, "rows": 1} for part, uid in sorted(uids)]
    assert {part: set(found) for part, found in set_parts(project, "data/benchmarks/emoji").items()} == {
        part: set(found) for part, found in left.items()
    }
    told, num_left = provenance(project, "benchmarks/emoji"), sum(map(len, left.values()))
    assert told["dropped"] == {"opt_out": len(uids)}
    assert told["rows_in"] == num_left + len(uids)
    assert provenance(project, "evaluate/clip-0")["rows_in"] == num_left

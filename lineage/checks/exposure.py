"""What a model saw: its exposure against the pairs it could see and the samples its run counted; its data set."""

import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lineage import records
from lineage.checks.findings import Finding, judged, unchecked
from lineage.checks.shards import ROOT, SELECTION, is_recorded, snapshots
from lineage.checks.tree import OtherFormError, Tree, mapping, read_table

MODELS, SCORER, SCREEN = "models", "scorer", "data/screen/rows.parquet"
_UIDS = pa.schema([("uid", pa.string())])
_KEYS = ["snapshot", "uid"]
_REMEDY = "`rm -r PATH && dvc checkout PATH`; if it stays so, `dvc repro --force --single-item STAGE`"


def models(tree: Tree) -> list[str]:
    """Returns the model folders among the outs of the DAG."""
    return sorted(out for out in tree.outs if re.fullmatch(rf"{MODELS}/[^/]+", out))


def check(tree: Tree, out: str) -> Iterator[Finding]:
    """Yields what is found of the exposure of the model in a folder."""
    path = f"{out}/exposure.parquet"
    if not is_recorded(tree, path):
        return
    file, maker = tree.find(path), tree.makers[out]
    if file is None:
        yield unchecked("rows", path, "is not here")
        return
    remedy = _REMEDY.replace("PATH", out).replace("STAGE", maker)
    told = tree.provenance(maker) if maker in tree.graph.instances else None
    try:
        saw = read_table(file, records.EXPOSURE)
        inherited = _inherited(tree, out)
        problems = [*_form(saw), *_reported(tree, out, saw)]
        own = _own(saw, inherited)
        problems += _counted(own, mapping(mapping(told).get("counts")))
        open_to, missing = _open_to(tree, out)
        problems += [] if open_to is None else _strangers(own, open_to)
        if out != f"{MODELS}/{SCORER}":
            problems += _data_set(tree, mapping(mapping(told).get("counts")))
    except OtherFormError as error:
        yield unchecked("rows", path, str(error), "check it out with the code of its time")
        return
    except ValueError as error:
        yield judged("rows", path, [str(error)], remedy)
        return
    yield judged("rows", path, problems, remedy)
    if missing:
        yield unchecked("rows", path, f"what the model could see is not all here: {missing}", f"`dvc pull {missing}`")
    if told is None:
        yield unchecked("rows", path, "how many samples its run counted is not here", f"`dvc pull provenance/{maker}`")


def _form(saw: pa.Table) -> list[str]:
    problems = [] if saw.group_by(_KEYS).aggregate([]).num_rows == saw.num_rows else ["names a pair twice"]
    order = [(key, "ascending") for key in _KEYS]
    return problems + ([] if saw.sort_by(order).select(_KEYS).equals(saw.select(_KEYS)) else ["is not in order"])


def _own(saw: pa.Table, inherited: pa.Table | None) -> pa.Table:
    """Returns the exposure without what came from the model it started from."""
    if inherited is None:
        return saw
    before = inherited.rename_columns([*_KEYS, "before"])
    joined = saw.join(before, _KEYS, join_type="full outer")
    count = pc.subtract(pc.fill_null(joined["count"], 0), pc.fill_null(joined["before"], 0))
    both = pa.table({"snapshot": joined["snapshot"], "uid": joined["uid"], "count": count})
    return both.filter(pc.not_equal(both["count"], 0))


def _counted(own: pa.Table, counts: dict[str, Any]) -> list[str]:
    """Returns where the exposure disagrees with what the run counted: pairs, samples, passes."""
    problems = []
    total, most, least = (function(own["count"]).as_py() or 0 for function in (pc.sum, pc.max, pc.min))
    if own.num_rows and least < 1:
        problems.append("a pair has a count below one")
    if isinstance(counts.get("kept"), int) and own.num_rows != counts["kept"]:
        problems.append(f"names {own.num_rows} pairs, its run counted {counts['kept']}")
    if isinstance(counts.get("pairs_drawn"), int) and total != counts["pairs_drawn"]:
        problems.append(f"its counts sum to {total}, its run drew {counts['pairs_drawn']} samples")
    if isinstance(counts.get("epochs"), int) and most > counts["epochs"]:
        problems.append(f"a pair was seen {most} times in {counts['epochs']} epochs")
    return problems


def _strangers(own: pa.Table, open_to: pa.Table) -> list[str]:
    beside = own.join(open_to, _KEYS, join_type="left anti").sort_by([(key, "ascending") for key in _KEYS])
    return [f"{row['snapshot']}/{row['uid']} is no pair it could see" for row in beside.select(_KEYS).to_pylist()]


def _open_to(tree: Tree, out: str) -> tuple[pa.Table | None, str]:
    """Returns (snapshot, uid) of what a model may have been trained on, and a path that is needed and not here."""
    if out == f"{MODELS}/{SCORER}":
        instance = tree.graph.instances.get(tree.makers[out])
        raw = [dep for dep in (instance.deps if instance else ()) if dep.startswith("data/raw/")]
        file = tree.find(SCREEN)
        if file is None or len(raw) != 1:
            return None, SCREEN
        return _named(raw[0].rpartition("/")[2], read_table(file, _UIDS)), ""
    tables = []
    for snapshot in snapshots(tree):
        path = f"{SELECTION}/{snapshot}/kept.parquet"
        file = tree.find(path)
        if file is None:
            return None, path
        kept = read_table(file, records.KEPT)
        tables.append(_named(snapshot, kept.filter(pc.equal(kept["split"], "train"))))
    return (pa.concat_tables(tables), "") if tables else (None, SELECTION)


def _named(snapshot: str, rows: pa.Table) -> pa.Table:
    return pa.table({"snapshot": pa.array([snapshot] * rows.num_rows, pa.string()), "uid": rows["uid"]})


def _inherited(tree: Tree, out: str) -> pa.Table | None:
    file = tree.find(f"{out}/inherited.parquet")
    return None if file is None else read_table(file, records.EXPOSURE)


def _reported(tree: Tree, out: str, saw: pa.Table) -> list[str]:
    """Returns where the model's metrics tell of other samples than its exposure."""
    model = mapping(mapping(tree.json(f"results/{out.rpartition('/')[2]}/metrics.json")).get("model"))
    found = {"samples_seen": pc.sum(saw["count"]).as_py() or 0, "pairs_seen": saw.num_rows}
    return [
        f"its metrics.json has {key} {model[key]}, its exposure {number}"
        for key, number in found.items()
        if key in model and model[key] != number
    ]


def _data_set(tree: Tree, counts: dict[str, Any]) -> list[str]:
    """Returns where a model's run counted other rows than the data set of the DAG has."""
    rows = mapping(mapping(tree.json(ROOT)).get("rows"))
    wanted = {"rows_in": sum(value for value in rows.values() if isinstance(value, int)), "val_rows": rows.get("val")}
    return [
        f"its run counted {key} {counts[key]}, the data set has {number}"
        for key, number in wanted.items()
        if rows and key in counts and counts[key] != number
    ]

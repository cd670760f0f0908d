"""Builds the report of a revision: a folder of pages, and an index in script files that is searched in the browser.

    index.html                the DAG, the models side by side, the funnel, the search
    models/NAME.html          a model's card
    pictures/                 thumbnails
    manifest.js               what the search has to know first
    index/KIND/000/000.js     KIND: uid (rows), url and sha256 (uids by digest), host (counts by domain)

Equal inputs give equal bytes. Memory is that of one range of uids, of one part of the keys, and of the digests of what
is opted out.
"""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lineage import files, reasons
from lineage.site import cards, pictures, rows, withheld
from lineage.site.drawing import drawing
from lineage.site.funnel import funnel
from lineage.site.holding import Holding
from lineage.site.hosts import Hosts
from lineage.site.lookup import KEY_DIGITS as LOOKUP_DIGITS
from lineage.site.lookup import Lookup, Parts
from lineage.site.pages import Pages
from lineage.site.rows import FIELDS, PLACE, WORDS, Row, Snapshot
from lineage.site.shelf import KEY_DIGITS, Shelf
from lineage.site.tally import Tally

GRAPH = "data/audit/graph.json"
SCRIPT_PARTS = 4
"""Of the host counts, a part for this many times fewer rows than there are."""
_UNSHOWN = PLACE["url_sha256"]
_SHARED = [PLACE[name] for name in ("url", "url_chars", "caption", "caption_chars", "host")]
"""Equal in all rows of a uid, which is a digest of link and caption."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What was built."""

    out: Path
    revision: str
    rows: int
    opted_out: int
    models: list[str]
    files: int
    bytes: int
    first_page_bytes: int
    thumbnails: int
    """Of pictures dropped and kept."""
    thumbnails_of_fetched: int
    """Those made of the pictures as fetched; the others are made of 8 x 8 pixels among the signals."""

    def as_json(self) -> dict[str, Any]:
        """Returns it as plain values."""
        return {**dataclasses.asdict(self), "out": str(self.out)}


def build(holding: Holding, out: Path) -> Built:
    """Builds the report in a folder, in place of the report that is there.

    Raises:
        ValueError: if there is something else, or what is read is damaged.
        FileNotFoundError: if something that is needed is not at hand.
    """
    Pages.check_target(out)
    for path in holding.graph.outs():
        if out.absolute().is_relative_to((holding.at.root / path).absolute()):
            raise ValueError(f"{out}: lies in {path}, which DVC keeps; name another folder with --out")
    partial = out.with_name(f".{out.name}.partial")
    files.remove(partial)
    made, spill = partial / "made", partial / "spill"
    for folder in (made, spill):
        folder.mkdir(parents=True)
    try:
        built = _build(holding, made, spill, out)
        files.remove(out)
        made.rename(out)
    finally:
        shutil.rmtree(partial)
    return built


def _build(holding: Holding, made: Path, spill: Path, out: Path) -> Built:
    graph = _graph(holding)
    names = holding.listed("snapshots")
    models = [name for name in _models(holding) if holding.has(f"models/{name}/exposure.parquet")]
    snapshots = [rows.opened(holding, name, number, models) for number, name in enumerate(names)]
    tally = Tally(names, models)
    hidden = withheld.withheld(holding, names)
    bounds = _index(snapshots, hidden, tally, made / "index", spill)
    found, num_fetched = pictures.thumbnails(holding, [one for some in tally.samples.values() for one in some])
    pages = Pages(made)
    shown = pages.pictures(tally.samples, found)
    strays = {model: sum(one.strays[model] for one in snapshots) for model in models}
    made_cards = [
        cards.card(holding, model, tally.frequencies[number], strays[model]) for number, model in enumerate(models)
    ]
    evaluated = [card for card in made_cards if card.metrics]
    total = funnel(tally, graph)
    steps = {name: funnel(tally, graph, name) for name in names}
    pages.assets()
    pages.script("manifest.js", "manifest", manifest(holding, snapshots, made_cards, bounds))
    pages.models(made_cards)
    pages.index(
        revision=holding.at.commit,
        dataset=_dataset(holding),
        drawing=drawing(graph),
        cards=made_cards,
        evaluated=evaluated,
        compared=cards.compared(evaluated),
        funnel=total,
        most=max((loss.count for step in total for loss in step.losses), default=1),
        by_snapshot=steps,
        tally=tally,
        shown=shown,
        num_fetched=num_fetched,
        num_thumbnails=len(found),
    )
    every = [path for path in made.rglob("*") if path.is_file()]
    return Built(
        out=out,
        revision=str(holding.at),
        rows=tally.num_rows,
        opted_out=tally.num_withheld,
        models=models,
        files=len(every),
        bytes=sum(path.stat().st_size for path in every),
        first_page_bytes=pages.first_page_bytes(),
        thumbnails=len(found),
        thumbnails_of_fetched=num_fetched,
    )


def manifest(
    holding: Holding, snapshots: Sequence[Snapshot], made_cards: Sequence[cards.Card], bounds: Mapping[str, list[str]]
) -> dict[str, Any]:
    """Returns what the search has to know before it is asked anything."""
    return {
        "fields": FIELDS,
        "shared": _SHARED,
        "words": [[word, reasons.ALL.get(word, "in the data set")] for word in WORDS],
        "snapshots": [[one.name, [[name, _recipe(holding, name)] for name in one.rule_names]] for one in snapshots],
        "models": [[card.name, [[_title(metric), metric.value] for metric in card.headline]] for card in made_cards],
        "digits": {"bound": KEY_DIGITS, "key": LOOKUP_DIGITS},
        "bounds": {kind: "".join(heads) for kind, heads in bounds.items()},
    }


def _index(
    snapshots: Sequence[Snapshot], hidden: withheld.Withheld, tally: Tally, folder: Path, spill: Path
) -> dict[str, list[str]]:
    """Writes the script files and returns, for each kind, with which key each of them begins."""
    num_rows = sum(next(iter(one.records.values())).num_rows for one in snapshots)
    with (
        Parts(spill, "url", num_rows) as url_parts,
        Parts(spill, "sha256", num_rows) as sha256_parts,
        Parts(spill, "host", num_rows * SCRIPT_PARTS) as host_parts,
        Shelf(folder, "uid") as uid_shelf,
    ):
        urls, looks, hosts = Lookup(url_parts), Lookup(sha256_parts), Hosts(host_parts)
        for some in rows.ranges(snapshots, hidden):
            tally.add(some)
            uids, words = [row[1] for row in some], [row[PLACE["reason"]] for row in some]
            urls.add([row[PLACE["url_sha256"]] for row in some], uids, words)
            looks.add([row[PLACE["sha256"]] for row in some], uids, words)
            hosts.add(some)
            _shelve_rows(some, uid_shelf)
        bounds = {}
        kinds: dict[str, Lookup | Hosts] = {"url": urls, "sha256": looks, "host": hosts}
        for kind, found in kinds.items():
            with Shelf(folder, kind) as shelf:
                found.shelve(shelf)
            bounds[kind] = shelf.bounds
    return {"uid": uid_shelf.bounds, **bounds}


def _shelve_rows(some: Sequence[Row], shelf: Shelf) -> None:
    """Adds [uid, its row in each snapshot] for each uid; what a uid stands for is in the first row alone."""
    entry: list[Any] = []
    for row in some:
        if not row[PLACE["withheld"]]:
            row[_UNSHOWN] = None
        if entry and entry[0] == row[1]:
            entry.append([None if place in _SHARED else value for place, value in enumerate(row)])
            continue
        if entry:
            shelf.add(entry[0], entry)
        entry = [row[1], row]
    if entry:
        shelf.add(entry[0], entry)


def _graph(holding: Holding) -> dict[str, Any]:
    """Returns what stage audit says of the stages.

    Raises:
        ValueError: if the file does not have its form.
    """
    content = holding.mapping(GRAPH)
    nodes, edges = content.get("nodes"), content.get("edges")
    good = isinstance(nodes, dict) and isinstance(edges, list) and all(map(_is_node, nodes.values()))
    if not good or not all(_is_edge(edge, nodes or {}) for edge in edges or ()):
        raise ValueError(f"{GRAPH} of {holding.at}: not what stage audit writes; `dvc repro audit` makes it anew")
    return content


def _is_node(node: Any) -> bool:
    if not isinstance(node, dict) or not all(isinstance(node.get(key), str) for key in ("stage", "instance")):
        return False
    counts = node.get("counts")
    rows_ = [counts.get(key, 0) for key in ("rows_in", "kept")] if isinstance(counts, dict) else [None]
    for group in ("dropped", "failed"):
        reasons_ = counts.get(group, {}) if isinstance(counts, dict) else None
        rows_ += reasons_.values() if isinstance(reasons_, dict) else [None]
    return all(type(number) is int for number in rows_)


def _is_edge(edge: Any, nodes: Mapping[str, Any]) -> bool:
    return (
        isinstance(edge, dict)
        and edge.get("reader") in nodes
        and isinstance(edge.get("path"), str)
        and isinstance(edge.get("producers"), list)
        and all(isinstance(name, str) and name in nodes for name in edge["producers"])
    )


def _models(holding: Holding) -> list[str]:
    seeds = holding.params().get("seeds")
    if not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds):
        raise ValueError(f"params.yaml of {holding.at}: seeds must be a list of integers, not {seeds!r}")
    trained = [f"{objective}-{seed}" for objective in holding.listed("objectives") for seed in seeds]
    return [*trained, cards.SCORER]


def _dataset(holding: Holding) -> str:
    root = "data/dataset/root.json"
    return str(holding.mapping(root).get("digest", "")) if holding.has(root) else "not at hand"


def _recipe(holding: Holding, rule: str) -> str:
    """Returns what the recipe of this revision asks of a rule, in its own words."""
    select = holding.params().get("select")
    recipe = select.get("rules") if isinstance(select, dict) else None
    recipe = recipe if isinstance(recipe, list) else []
    entry = next((one for one in recipe if isinstance(one, dict) and one.get("rule") == rule), {})
    return ", ".join(f"{key} {_spelt(value)}" for key, value in entry.items() if key != "rule")


def _spelt(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _title(metric: cards.Metric) -> str:
    return f"{metric.protocol} · {metric.variant} · {metric.name} on {metric.set}/{metric.part}"

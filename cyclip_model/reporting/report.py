"""The report: which metrics come first, how numbers are spelled, and the page and Markdown made of them."""

import re
from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from cyclip_model.reporting.results import Cell, Key, Table

HEADLINE = (
    ("naming", "twemoji", "names", "top_1"),
    ("naming", "twemoji", "names", "top_5"),
    ("retrieval", "novel", "image_to_text", "recall_1"),
    ("retrieval", "novel", "image_to_text", "recall_10"),
    ("retrieval", "novel", "text_to_image", "recall_1"),
    ("retrieval", "novel", "text_to_image", "recall_10"),
    ("linear_probe", "novel", "all", "top_1"),
    ("category", "novel", "members", "top_1"),
    ("consistency", "novel", "members", "k_1"),
    ("consistency", "novel", "members", "k_10"),
)
"""(protocol, part, variant, metric): those with head-room and little noise."""

PROTOCOLS = {
    "naming": ("Naming", "zero-shot: which of all known names is it?"),
    "retrieval": ("Retrieval", "pictures and captions find each other"),
    "linear_probe": ("Linear probe", "subcategory by one linear layer on frozen, un-normalised picture features"),
    "knn": ("k-NN", "subcategory by vote of the nearest training pictures"),
    "category": ("Category, zero-shot", "by the category's own words, or by the mean of its training names"),
    "subcategory": ("Subcategory, zero-shot", "by the subcategory's own words, or by the mean of its training names"),
    "hierarchy": ("Fine and coarse", "fine: within the true category; coarse: category of the best subcategory"),
    "consistency": ("Consistency", "zero-shot label = vote of the k nearest training pictures, right or wrong"),
    "geometry": ("Geometry", "of picture and caption embeddings; not percentages"),
    "history": (
        "Validation",
        "what training itself measured on the val split after its last epoch; a loss is no percentage",
    ),
}
"""Protocol -> heading and meaning, in the order of the report."""
PARTS = {
    "seen": "known emoji, new drawing",
    "twemoji": "known emoji, new artist",
    "lineart": "known emoji, line art",
    "novel": "new emoji",
    "novel_twemoji": "new emoji, new artist",
    "novel_lineart": "new emoji, line art",
    "val": "val split",
}
INK = "#757575"
"""Colour of text and lines in the plots: readable on black and on white; inside the page they take the page's own."""
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>&#|])")


def headline_keys(table: Table) -> list[Key]:
    """The headline's metrics of every set that has them, in the order of the report: what claims are made from."""
    return [(name, *rest) for name in set_names(table) for rest in HEADLINE if (name, *rest) in table.cells]


def set_names(table: Table) -> list[str]:
    """Names of the sets, those with headline metrics first."""
    with_headline = {key[0] for key in table.cells if key[1:] in HEADLINE}
    return sorted({key[0] for key in table.cells}, key=lambda name: (name not in with_headline, name))


def content(table: Table, confidence: float) -> dict[str, Any]:
    """What the templates show of every model, already spelled."""
    return {
        "objectives": table.objectives,
        "seeds": table.seeds,
        "confidence": f"{100 * confidence:g} %",
        "models": models(table),
        "sets": [one_set(table, name, confidence) for name in set_names(table)],
    }


def models(table: Table) -> list[dict[str, str]]:
    """One row an objective: how large its model is and what it has seen."""
    return [{"objective": name, **_spelled_facts(table.models[name])} for name in table.objectives]


def _spelled_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    counts = {key: f"{facts[key]:,}" if key in facts else "–" for key in ("parameters", "pairs_seen", "samples_seen")}
    return {**counts, "snapshots": ", ".join(facts.get("snapshots", ["–"]))}


def one_set(table: Table, name: str, confidence: float) -> dict[str, Any]:
    """Headline rows and all sections of one evaluation set."""
    keys = sorted((key for key in table.cells if key[0] == name), key=_place)
    headline = [_row(table, (name, *rest), confidence) for rest in HEADLINE if (name, *rest) in table.cells]
    order = [*PROTOCOLS, *sorted({key[1] for key in keys} - set(PROTOCOLS))]
    sections = [
        {
            "title": PROTOCOLS.get(protocol, (protocol, ""))[0],
            "meaning": PROTOCOLS.get(protocol, (protocol, ""))[1],
            "rows": [_row(table, key, confidence) for key in keys if key[1] == protocol],
        }
        for protocol in order
    ]
    return {"name": name, "headline": headline, "sections": [section for section in sections if section["rows"]]}


def _place(key: Key) -> tuple[int, str, list[tuple[str, int]]]:
    """Parts as in PARTS, then variants, then metrics with recall_5 before recall_10."""
    _, _, part, variant, metric = key
    metric_parts = re.findall(r"(\D*)(\d*)", metric)
    return [*PARTS, part].index(part), variant, [(text, int(number or 0)) for text, number in metric_parts]


def _row(table: Table, key: Key, confidence: float) -> dict[str, Any]:
    cells = table.cells[key]
    _, protocol, part, variant, metric = key
    some, share = next(iter(cells.values())), is_share(key)
    return {
        "protocol": PROTOCOLS.get(protocol, (protocol,))[0],
        "part": PARTS.get(part, part),
        "part_id": part,
        "variant": words(variant),
        "metric": metric_words(metric),
        "values": [value(cells.get(objective), share) for objective in table.objectives],
        "chance": spelled(_mean([cell.chance for cell in cells.values()]), share),
        "majority": spelled(some.majority, share),
        "n": "" if some.n is None else f"{some.n:,}",
        "margin": f"± {100 * _margin(cells, some.n, confidence):.1f}" if share and some.n else "",
    }


def is_share(key: Key) -> bool:
    """Whether a metric is a share of rows, and a percentage in the report."""
    return key[1] != "geometry" and "loss" not in key[4]


def value(cell: Cell | None, share: bool) -> str:
    """Mean over seeds, and ± their standard deviation where there are several; a dash for what was not measured."""
    if cell is None:
        return "–"
    mean = spelled(cell.mean, share)
    return mean if cell.spread is None else f"{mean} ± {spelled(cell.spread, share, like=cell.mean)}"


def spelled(number: float | None, share: bool, like: float | None = None) -> str:
    """A percentage with one decimal (two where it, or the number it stands beside, is below 1 %); empty for None.

    What is no share of rows has three decimals.
    """
    if number is None:
        return ""
    if not share:
        return f"{number:.3f}"
    small = 0 < (number if like is None else like) < 0.01
    return f"{100 * number:.2f}" if small else f"{100 * number:.1f}"


def words(variant: str) -> str:
    """image_to_text -> image → text; prompt_without_flags -> prompt without flags."""
    return variant.replace("_to_", " → ").replace("_", " ")


def metric_words(metric: str) -> str:
    """The field's own spelling: top_1 -> top-1, recall_5 -> R@5, k_3 -> k = 3."""
    for pattern, spelled in ((r"top_(\d+)$", r"top-\1"), (r"recall_(\d+)$", r"R@\1"), (r"^k_(\d+)$", r"k = \1")):
        metric = re.sub(pattern, spelled, metric)
    return metric.replace("_", " ")


def _mean(levels: list[float | None]) -> float | None:
    known = [level for level in levels if level is not None]
    return sum(known) / len(known) if known else None


def _margin(cells: Mapping[str, Cell], n: int, confidence: float) -> float:
    """Half width of the widest objective's normal interval for a share of n rows."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return max(z * sqrt(cell.mean * (1 - cell.mean) / n) for cell in cells.values())


def headline_label(key: Key) -> str:
    """A headline metric in words: Retrieval, image → text, R@10."""
    _, protocol, _, variant, metric = key
    way = f", {words(variant)}" if protocol == "retrieval" else ""
    return f"{PROTOCOLS[protocol][0]}{way}, {metric_words(metric)}"


def html(shown: Mapping[str, Any], drawn: Mapping[str, str]) -> str:
    """One page that needs nothing else: no script, style and plots inside."""
    inline = {name: Markup(_inline(name, svg)) for name, svg in drawn.items()}  # noqa: S704  our own plots
    return _environment().get_template("report.html.j2").render(**shown, plots=inline)


def markdown(shown: Mapping[str, Any], names: list[str]) -> str:
    """The headline and every metric as GitHub's Markdown; the plots as links to the files beside it."""
    return _environment().get_template("report.md.j2").render(**shown, plots=names)


def _inline(name: str, svg: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)  # ids of two plots on one page must differ
    return svg.replace(INK, "currentColor").replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda text: _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))
    return environment

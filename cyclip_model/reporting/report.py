"""The report: how numbers are spelled, and the page and Markdown made of them."""

import re
from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from cyclip_model.reporting import families, published
from cyclip_model.reporting.families import Family, headline_keys, is_share, part_words
from cyclip_model.reporting.results import Cell, Key, Table
from cyclip_model.reporting.style import INK, Plot

_PLOTS = {
    "Shift": ["shift", "robustness"],
    "Consistency": ["consistency"],
    "Retrieval": ["retrieval"],
    "Geometry": ["plane"],
}
"""Family -> its plots."""
_PLAIN_SHARE = re.compile(r"(?:\w+_)?(?:top|recall|k)_\d+")
"""Metrics that are hits over rows; balanced accuracy, for one, is not."""
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>&#|])")


def content(table: Table, confidence: float) -> dict[str, Any]:
    """What the templates show of every model, already spelled."""
    absent = sorted(set(table.absent) - {key[0] for key in table.cells})
    return {
        "objectives": table.objectives,
        "seeds": table.seeds,
        "confidence": f"{100 * confidence:g} %",
        "models": models(table),
        "headline": [_row(table, key, confidence) for key in headline_keys(table)],
        "families": [one_family(table, family, confidence) for family in families.families(table)],
        "published": published.beside(table),
        "absent": [
            {"name": name, **{word: table.absent[name].get(word, "") for word in ("why", "how")}} for name in absent
        ],
    }


def models(table: Table) -> list[dict[str, str]]:
    """One row an objective: how large its model is and what it has seen."""
    return [{"objective": name, **_spelled_facts(table.models[name])} for name in table.objectives]


def _spelled_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    counts = {key: f"{facts[key]:,}" if key in facts else "–" for key in ("parameters", "pairs_seen", "samples_seen")}
    return {**counts, "snapshots": ", ".join(facts.get("snapshots", ["–"]))}


def one_family(table: Table, family: Family, confidence: float) -> dict[str, Any]:
    """The family's leading metrics of all sets, and below them every metric, a section a set and protocol."""
    keys = families.keys_of(table, family)
    places = dict.fromkeys(key[:2] for key in keys)
    sections = [
        {
            "title": f"{name}: {families.heading(protocol)}",
            "meaning": families.PROTOCOLS.get(protocol, ("", ""))[1],
            "rows": [_row(table, key, confidence) for key in keys if key[:2] == (name, protocol)],
        }
        for name, protocol in places
    ]
    return {
        "title": family.title,
        "meanings": [
            ": ".join(families.PROTOCOLS[protocol])
            for protocol in family.protocols
            if protocol in families.PROTOCOLS and protocol in {key[1] for key in keys}
        ],
        "rows": [_row(table, key, confidence) for key in families.lead_keys(table, family)],
        "sections": sections,
    }


def _row(table: Table, key: Key, confidence: float) -> dict[str, Any]:
    cells = table.cells[key]
    name, protocol, part, variant, metric = key
    some, share = next(iter(cells.values())), is_share(key)
    margin = _margin(key, cells, confidence)
    return {
        "set": name,
        "protocol": families.heading(protocol),
        "part": part_words(part),
        "turn": (name, protocol, part),
        "variant": families.words(variant),
        "metric": families.metric_words(metric),
        "values": [value(cells.get(objective), share) for objective in table.objectives],
        "chance": spelled(_mean([cell.chance for cell in cells.values()]), share),
        "majority": spelled(some.majority, share),
        "n": "" if some.n is None else f"{some.n:,}",
        "margin": "" if margin is None else f"± {100 * margin:.1f}",
    }


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
    small = 0 < abs(number if like is None else like) < 0.01
    return f"{100 * number:.2f}" if small else f"{100 * number:.1f}"


def _mean(levels: list[float | None]) -> float | None:
    known = [level for level in levels if level is not None]
    return sum(known) / len(known) if known else None


def _margin(key: Key, cells: Mapping[str, Cell], confidence: float) -> float | None:
    """Half width of the least certain objective's normal interval; None where nothing says how sure a value is.

    Results made before standard errors were written have them of plain shares all the same: sqrt(p (1 - p) / n).
    """
    if not is_share(key):
        return None
    errors = [cell.standard_error for cell in cells.values() if cell.standard_error is not None]
    if not errors and _PLAIN_SHARE.fullmatch(key[4]):
        errors = [sqrt(cell.mean * (1 - cell.mean) / cell.n) for cell in cells.values() if cell.n]
    return NormalDist().inv_cdf((1 + confidence) / 2) * max(errors) if errors else None


def html(shown: Mapping[str, Any], drawn: Mapping[str, Plot]) -> str:
    """One page that needs nothing else: no script, style and plots inside."""
    inline = {
        name: {"svg": Markup(_inline(name, plot.svg)), "caption": plot.caption}  # noqa: S704  our own plots
        for name, plot in drawn.items()
    }
    return _environment().get_template("report.html.j2").render(**shown, plots=inline, belongs=_PLOTS)


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
    environment.filters["whole"] = _whole
    return environment


def _whole(text: str) -> str:
    """The text with no line break within top-1 or k = 3."""
    return text.replace("-", "-\u2060").replace(" = ", "\u00a0=\u00a0")

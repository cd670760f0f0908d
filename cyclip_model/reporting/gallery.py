"""Pictures that all models miss or get right, and those that part an objective from the first one."""

import base64
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from PIL import Image, UnidentifiedImageError

from cyclip_model.reporting.answers import AllAnswers, Answers, Asked
from cyclip_model.reporting.families import heading, part_words, words

QUESTIONS = (("naming", "names"), ("zero_shot", "prompt"), ("retrieval", "image_to_text"))
"""(protocol, variant) that pictures are shown of: the first that a set has, on its largest part."""
SIDE_PX = 96
NUM_COLOURS = 64
"""Of a thumbnail's palette: photographs stay recognisable at a third of the bytes."""
MAX_BYTES = 1_500_000
"""Of all pictures as they stand in the page: with plots and tables it stays below 3 MB."""
_MARKUP_BYTES = 400
"""Of a picture's uid, label and answers in the page, about."""


class Strip(NamedTuple):
    """Pictures that have one thing in common."""

    title: str
    rows: list[int]


def shown(answers: AllAnswers, benchmarks: Path, objectives: list[str], num_pictures: int) -> list[dict[str, Any]]:
    """What the page shows of every set whose pictures were asked about; the more sets, the fewer pictures of each.

    Args:
        answers: of all models.
        benchmarks: holds the pictures.
        objectives: the first is what the others are set against.
        num_pictures: in a strip, at most.
    """
    found: list[dict[str, Any]] = []
    room, all_asked = MAX_BYTES, questions(answers)
    for place, asked in enumerate(all_asked):
        by_objective = answers.on_same_rows(asked)
        strips = strips_of(by_objective, objectives, num_pictures)
        uids = _first(by_objective).uids
        kept = sorted({uids[row].as_py() for strip in strips for row in strip.rows})
        stored = _stored(benchmarks / asked[0] / "test" / f"{asked[2]}.parquet", kept)
        pictures = {row: _picture(by_objective, row, stored) for strip in strips for row in strip.rows}
        strips = _within(strips, pictures, room // (len(all_asked) - place))
        room -= _bytes(strips, pictures)
        title = f"{asked[0]}: {heading(asked[1])}, {part_words(asked[2])}, {words(asked[3])}"
        shown_strips = [{"title": strip.title, "pictures": [pictures[row] for row in strip.rows]} for strip in strips]
        if shown_strips:
            found.append({"title": title, "strips": shown_strips})
    return found


def _within(strips: list[Strip], pictures: Mapping[int, Mapping[str, Any]], budget: int) -> list[Strip]:
    """The strips, shortened alike until they fit; none where not even one picture each does."""
    while strips and _bytes(strips, pictures) > budget:
        longest = max(len(strip.rows) for strip in strips)
        shorter = [Strip(strip.title, strip.rows[: longest - 1]) for strip in strips]
        strips = [strip for strip in shorter if strip.rows]
    return strips


def _bytes(strips: list[Strip], pictures: Mapping[int, Mapping[str, Any]]) -> int:
    return sum(len(pictures[row]["uri"]) + _MARKUP_BYTES for strip in strips for row in strip.rows)


def questions(answers: AllAnswers) -> list[Asked]:
    """The question of each set that pictures are shown of."""
    chosen = []
    for name in sorted({asked[0] for asked in answers.found}):
        for protocol, variant in QUESTIONS:
            of = [asked for asked in answers.found if (asked[0], asked[1], asked[3]) == (name, protocol, variant)]
            if of:
                chosen.append(min(of, key=lambda asked: (-len(_first(answers.found[asked]).uids), asked)))
                break
    return chosen


def strips_of(by_objective: Mapping[str, Mapping[int, Answers]], objectives: list[str], limit: int) -> list[Strip]:
    """Rows that say most, at most `limit` a strip; strips without any are left out.

    Missed rows are ordered by how far down the truth stood (mean log rank), rows that part two models by in how many
    seeds they do and then by how far apart the truth stood; what remains equal by uid, which is a digest and so a draw.
    """
    present = [name for name in objectives if name in by_objective]
    hit = {name: np.mean([one.ranks == 0 for one in by_objective[name].values()], axis=0) for name in present}
    depth = {name: np.mean([np.log1p(one.ranks) for one in by_objective[name].values()], axis=0) for name in present}
    all_hit, mean_depth = np.stack([hit[name] for name in present]), np.mean([depth[name] for name in present], axis=0)
    share = all_hit.mean(axis=0)
    whose = "every model" if (share == 1).any() else "most models"
    strips = [
        Strip("missed by every model", _best(share == 0, [-mean_depth], limit)),
        Strip(f"right by {whose}", _best(share == 1 if whose == "every model" else share > 0.5, [-share], limit)),
    ]
    for base, other in ((present[0], other) for other in present[1:]):
        for right, wrong in ((other, base), (base, other)):
            gap = hit[right] - hit[wrong]
            order = [-gap, depth[right] - depth[wrong]]
            strips.append(Strip(f"{right} right, {wrong} wrong", _best(gap > 0, order, limit)))
    return [strip for strip in strips if strip.rows]


def _best(is_meant_N: npt.NDArray[np.bool_], keys: list[npt.NDArray[np.float64]], limit: int) -> list[int]:
    """Rows that are meant, by the keys and then as they stand, which is by uid."""
    rows = np.flatnonzero(is_meant_N)
    order = np.lexsort([rows, *(key[rows].round(9) for key in reversed(keys))])
    return [int(row) for row in rows[order[:limit]]]


def _first(by_objective: Mapping[str, Mapping[int, Answers]]) -> Answers:
    return next(answers for seeds in by_objective.values() for answers in seeds.values())


def _picture(
    by_objective: Mapping[str, Mapping[int, Answers]], row: int, stored: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    first = _first(by_objective)
    uid: str = first.uids[row].as_py()
    of = stored.get(uid, {})
    said: dict[str, list[str]] = {}
    for objective, seeds in by_objective.items():
        said.setdefault(_said(next(iter(seeds.values())), row), []).append(objective)
    answers = [{"text": text, "who": "all" if len(said) == 1 else ", ".join(who)} for text, who in said.items()]
    label = first.labels[row].as_py() or next(iter(of.get("captions") or []), "")
    return {"uid": uid, "label": label, "answers": answers, "uri": thumbnail(of.get("image") or b"")}


def _said(one: Answers, row: int) -> str:
    rank = int(one.ranks[row])
    said: str = one.predictions[row].as_py()
    if said:
        return said
    return "found first" if rank == 0 else f"found at place {rank + 1}"


def _stored(path: Path, uids: list[str]) -> dict[str, dict[str, Any]]:
    """uid -> what the benchmark stores of it; empty where it is not here."""
    if not path.is_file():
        return {}
    names = [name for name in ("uid", "image", "captions") if name in pq.read_schema(path).names]
    table = pq.read_table(path, columns=names, filters=[("uid", "in", uids)]) if uids else None
    return {row["uid"]: row for row in _rows(table)}


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    if table is not None:
        yield from table.to_pylist()


def thumbnail(content: bytes) -> str:
    """A picture as the data: URI of a PNG on white, at most SIDE_PX wide and high; empty where it cannot be read."""
    try:
        with Image.open(io.BytesIO(content)) as opened:
            seen = opened.convert("RGBA")
    except (UnidentifiedImageError, OSError, ValueError):
        return ""
    seen.thumbnail((SIDE_PX, SIDE_PX))
    white = Image.new("RGBA", seen.size, "white")
    target = io.BytesIO()
    Image.alpha_composite(white, seen).convert("RGB").quantize(NUM_COLOURS).save(target, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(target.getvalue()).decode()}"

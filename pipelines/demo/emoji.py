"""The emoji packages as one table of drawings: who drew which concept, in what words, and in which part of the demo."""

import dataclasses
import enum
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

PACKAGES: Final = {
    "@lobehub/fluent-emoji-3d": "1.1.0",
    "emoji-datasource-google": "16.0.0",
    "emoji-datasource-twitter": "16.0.0",
    "openmoji": "17.0.0",
}
"""The npm packages and the versions this module was written for; package-lock.json pins the same."""

TRAINING_VENDORS: Final = ("noto", "fluent", "openmoji")
SHIFT_VENDORS: Final = ("twemoji", "lineart")
NOVEL_FRACTION: Final = 0.15
SEEN_FRACTION: Final = 0.08
RECENT_EMOJI_VERSION: Final = 12.0
RECENT_EXTRAS_DATE: Final = "2021"
"""Drawings from this Emoji version, or (extras) this year on, appear with the second snapshot."""

TONES: Final = frozenset(f"1F3F{letter}" for letter in "BCDEF")
_SIGNS: Final = frozenset(("2640", "2642", "27A1", "FE0F"))
_NEUTRAL: Final = {
    **dict.fromkeys(("1F468", "1F469"), "1F9D1"),
    **dict.fromkeys(("1F466", "1F467"), "1F9D2"),
    **dict.fromkeys(("1F474", "1F475"), "1F9D3"),
    **dict.fromkeys(("1F934", "1F478"), "1FAC5"),
    **dict.fromkeys(("1F385", "1F936"), "1F9D1-1F384"),
    "1F57A": "1F483",
}
"""Code points of a gender with the neutral one."""

_PEOPLE: Final = frozenset(("1F9D1", "1F9D2"))
_TOGETHER: Final = frozenset(("1F46A", "1F46B", "1F46C", "1F46D", "1F46F", "1F48F", "1F491"))
_NO_CLASS: Final = "extras-"
_DROPPED_SUBGROUPS: Final = frozenset(("brand",))


class Part(enum.StrEnum):
    """Where a drawing by a training vendor goes."""

    SITE = "site"
    SEEN = "seen"
    NOVEL = "novel"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One drawing of one emoji by one vendor."""

    vendor: str
    key: str
    """Code points in upper-case hex joined by `-`, without FE0F."""
    path: Path
    concept: str
    name: str
    """The CLDR name."""
    unicode_name: str
    short_name: str
    tags: tuple[str, ...]
    subcategory: str
    """Empty, as `category`, for drawings without a class."""
    category: str
    is_recent: bool
    has_tone: bool


def read(packages: Path) -> list[Drawing]:
    """Returns every drawing of the five vendors, sorted by vendor and key; components and brands are left out.

    Args:
        packages: the `node_modules` folder.

    Raises:
        FileNotFoundError: if a package's table is not there.
    """
    entries = {
        _key(entry["hexcode"]): entry
        for entry in _table(packages / "openmoji/data/openmoji.json")
        if entry["group"] != "component" and entry["subgroups"] not in _DROPPED_SUBGROUPS
    }
    words = _unicode_words(_table(packages / "emoji-datasource-google/emoji.json"))
    folders = {
        "noto": (packages / "emoji-datasource-google/img/google/64", ".png"),
        "fluent": (packages / "@lobehub/fluent-emoji-3d/assets", ".webp"),
        "openmoji": (packages / "openmoji/color/svg", ".svg"),
        "twemoji": (packages / "emoji-datasource-twitter/img/twitter/64", ".png"),
        "lineart": (packages / "openmoji/black/svg", ".svg"),
    }
    drawings = [
        _drawing(vendor, path, entries[key], words.get(key, ("", "")))
        for vendor, (folder, ending) in folders.items()
        for key, path in sorted(_files(folder, ending).items())
        if key in entries
    ]
    return sorted(drawings, key=lambda drawing: (drawing.vendor, drawing.key))


def concept_of(key: str) -> str:
    """Returns the concept group of an emoji: tone, gender and direction stripped; couples and families are one."""
    points = [point for point in key.split("-") if point not in TONES | _SIGNS | {"200D"}]
    joined = "-".join(_NEUTRAL.get(point, point) for point in points).split("-")
    num_people = sum(point in _PEOPLE for point in joined)
    if num_people > 1 or _TOGETHER & set(joined):
        return "people-together"
    if joined == ["1FAF1", "1FAF2"]:
        return "1F91D"
    return "-".join(joined) or key


def toneless(key: str) -> str:
    """Returns the key of an emoji without its skin tones."""
    return "-".join(point for point in key.split("-") if point not in TONES)


def novel_concepts(drawings: Iterable[Drawing]) -> set[str]:
    """Returns the concepts held out whole: in each subcategory the first 15 % in the order of their sha1."""
    homes: dict[str, tuple[str, str]] = {}
    for drawing in drawings:
        if drawing.subcategory:
            home = (drawing.key, drawing.subcategory)
            homes[drawing.concept] = min(homes.get(drawing.concept, home), home)
    members = defaultdict(list)
    for concept, (_, subcategory) in homes.items():
        members[subcategory].append(concept)
    return {
        concept
        for concepts in members.values()
        for concept in sorted(concepts, key=_order)[: round(NOVEL_FRACTION * len(concepts))]
    }


def parts(drawings: Sequence[Drawing], novel: set[str]) -> dict[tuple[str, str], Part]:
    """Returns the part of every training vendor's drawing without a tone, by (vendor, key).

    A unit (concept, vendor) is held out as `seen` whole, so that no variant of a held-out drawing is trained on, and
    only where another vendor's drawing of the concept stays on the site. Extras of a novel concept are left out.
    """
    ours = [drawing for drawing in drawings if drawing.vendor in TRAINING_VENDORS and not drawing.has_tone]
    units = {(d.concept, d.vendor) for d in ours if d.subcategory and d.concept not in novel}
    vendors = defaultdict(set)
    for concept, vendor in units:
        vendors[concept].add(vendor)
    seen: set[tuple[str, str]] = set()
    for concept, vendor in sorted(units, key=lambda unit: _order("seen", *unit)):
        if len(seen) < SEEN_FRACTION * len(units) and len(vendors[concept]) > 1:
            seen.add((concept, vendor))
            vendors[concept].discard(vendor)
    chosen = {}
    for drawing in ours:
        if drawing.concept in novel:
            part = Part.NOVEL if drawing.subcategory else None
        else:
            part = Part.SEEN if drawing.subcategory and (drawing.concept, drawing.vendor) in seen else Part.SITE
        if part:
            chosen[drawing.vendor, drawing.key] = part
    return chosen


def _drawing(vendor: str, path: Path, entry: dict[str, Any], words: tuple[str, str]) -> Drawing:
    key = _key(entry["hexcode"])
    is_extra = entry["group"].startswith(_NO_CLASS)
    tags = [tag.strip() for tag in f"{entry['tags']},{entry['openmoji_tags']}".split(",")]
    name = entry["annotation"]
    return Drawing(
        vendor=vendor,
        key=key,
        path=path,
        concept=concept_of(key),
        name=name,
        unicode_name=words[0],
        short_name=words[1],
        tags=tuple(dict.fromkeys(tag for tag in tags if tag and tag != name)),
        subcategory="" if is_extra else entry["subgroups"],
        category="" if is_extra else entry["group"],
        is_recent=_is_recent(entry, is_extra),
        has_tone=bool(entry["skintone"]),
    )


def _is_recent(entry: dict[str, Any], is_extra: bool) -> bool:
    if is_extra:
        return bool(entry["openmoji_date"] >= RECENT_EXTRAS_DATE)
    return float(entry["unicode"]) >= RECENT_EMOJI_VERSION


def _unicode_words(entries: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {
        _key(entry["unified"]): (entry["name"].lower(), entry["short_name"].replace("_", " ").replace("-", " ").strip())
        for entry in entries
    }


def _files(folder: Path, ending: str) -> dict[str, Path]:
    """Returns the pictures of a folder by key; of two spellings of one key the first in order of name is taken."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob(f"*{ending}")):
        found.setdefault(_key(path.stem), path)
    return found


def _key(hexcode: str) -> str:
    return "-".join(point.zfill(4) for point in hexcode.upper().split("-") if point != "FE0F")


def _order(*words: str) -> str:
    return hashlib.sha1("|".join(words).encode(), usedforsecurity=False).hexdigest()


def _table(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; `npm ci` puts the packages of package-lock.json in place")
    content: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return content

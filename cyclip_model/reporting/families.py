"""Protocols by what they ask, their words, and which metrics speak for each of them."""

import re
from dataclasses import dataclass

from cyclip_model.reporting.results import Key, Table

PROTOCOLS = {
    "zero_shot": ("Zero-shot", "which class is it, by the words of the set's templates?"),
    "naming": ("Naming", "zero-shot: which of all known names is it?"),
    "category": ("Category, zero-shot", "by the category's own words, or by the mean of its training names"),
    "subcategory": ("Subcategory, zero-shot", "by the subcategory's own words, or by the mean of its training names"),
    "shift": ("Shift", "the same classes drawn or photographed otherwise"),
    "consistency": ("Consistency", "zero-shot label = vote of the k nearest training pictures, right or wrong"),
    "hierarchy": ("Fine and coarse", "fine: within the true superclass; coarse: superclass of the best class"),
    "retrieval": ("Retrieval", "pictures and captions find each other"),
    "linear_probe": ("Linear probe", "one linear layer on frozen, un-normalised picture features"),
    "knn": ("k-NN", "by vote of the nearest training pictures"),
    "sts": ("Textual likeness", "rank correlation of cosines of sentences with people's scores; no percentage"),
    "sentences": ("Sentences", "one linear layer on frozen text features"),
    "winoground": ("Winoground", "two pictures, two captions of the same words in another order"),
    "scores": ("Zero-shot scores", "which class, by each way that a model with cluster heads can be asked"),
    "clusters": ("Clusters", "how pictures fall into a model's own clusters; not percentages"),
    "geometry": ("Geometry", "of picture and caption embeddings; not percentages"),
    "history": (
        "Validation",
        "what training itself measured on the val split after its last epoch; a loss is no percentage",
    ),
}
"""Protocol -> heading and meaning, in the order of the report."""

PARTS = {
    "test": "test",
    "seen": "known emoji, new drawing",
    "twemoji": "known emoji, new artist",
    "lineart": "known emoji, line art",
    "novel": "new emoji",
    "novel_twemoji": "new emoji, new artist",
    "novel_lineart": "new emoji, line art",
    "val": "val split",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Protocols that the report shows in one table."""

    title: str
    protocols: tuple[str, ...]
    lead: tuple[str, ...]
    """Metrics in the family's table, as patterns of the whole name; all others are one click below."""

    def place(self, metric: str) -> int:
        """Which of `lead` a metric is, in their order; their number where it is none of them."""
        found = [number for number, pattern in enumerate(self.lead) if re.fullmatch(pattern, metric)]
        return found[0] if found else len(self.lead)


FAMILIES = (
    Family(title="Zero-shot", protocols=("zero_shot", "naming", "category", "subcategory"), lead=("top_1",)),
    Family(title="Shift", protocols=("shift",), lead=("parent_top_1", "top_1", "effective_robustness")),
    Family(title="Consistency", protocols=("consistency",), lead=("k_1", "k_10")),
    Family(title="Fine and coarse", protocols=("hierarchy",), lead=("fine_top_1", "coarse_top_1")),
    Family(title="Retrieval", protocols=("retrieval",), lead=("recall_1", "recall_10")),
    Family(title="Linear probe and k-NN", protocols=("linear_probe", "knn"), lead=("top_1",)),
    Family(title="Text tower", protocols=("sts", "sentences"), lead=("spearman", "top_1")),
    Family(title="Winoground", protocols=("winoground",), lead=("text", "image", "group")),
    Family(
        title="Cluster heads", protocols=("scores", "clusters"), lead=("top_1", "active_clusters", "smoothness", "nmi")
    ),
    Family(title="Geometry", protocols=("geometry",), lead=("alignment", "uniformity(_cross)?", "modality_gap")),
    Family(title="Validation", protocols=("history",), lead=("loss", "recall_10")),
)

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
    ("zero_shot", "test", "prompt", "top_1"),
    ("linear_probe", "test", "all", "top_1"),
    ("consistency", "test", "prompt", "k_1"),
    ("retrieval", "test", "image_to_text", "recall_1"),
    ("retrieval", "test", "image_to_text", "recall_10"),
    ("retrieval", "test", "text_to_image", "recall_1"),
    ("retrieval", "test", "text_to_image", "recall_10"),
    ("winoground", "test", "all", "group"),
    ("sts", "test", "tower", "spearman"),
    ("sentences", "test", "linear_probe", "top_1"),
)
"""(protocol, part, variant, metric): of the suite those with head-room and little noise, of others the usual."""

_NO_SHARES = ("geometry", "clusters", "sts")


def families(table: Table) -> list[Family]:
    """Those that the table has results of, and one of its own for each protocol that no family knows."""
    present = {key[1] for key in table.cells}
    known = {protocol for family in FAMILIES for protocol in family.protocols}
    others = [
        Family(title=protocol.replace("_", " "), protocols=(protocol,), lead=(".*",))
        for protocol in sorted(present - known)
    ]
    return [family for family in (*FAMILIES, *others) if present & set(family.protocols)]


def keys_of(table: Table, family: Family) -> list[Key]:
    """The family's metrics, set by set, as the report lists them."""
    found = [key for key in table.cells if key[1] in family.protocols]
    names = {name: number for number, name in enumerate(set_names(table))}
    return sorted(found, key=lambda key: (names[key[0]], family.protocols.index(key[1]), place(key)))


def lead_keys(table: Table, family: Family) -> list[Key]:
    """Those in the family's own table; what is without flags stays below."""
    found = [
        key for key in keys_of(table, family) if "without" not in key[3] and family.place(key[4]) < len(family.lead)
    ]
    first = {of: number for number, of in enumerate(dict.fromkeys(key[:4] for key in found))}
    return sorted(found, key=lambda key: (first[key[:4]], family.place(key[4])))


def headline_keys(table: Table) -> list[Key]:
    """The headline's metrics of every set that has them, in the order of the report: what claims are made from."""
    return [(name, *rest) for name in set_names(table) for rest in HEADLINE if (name, *rest) in table.cells]


def set_names(table: Table) -> list[str]:
    """Names of the sets, those with headline metrics first."""
    with_headline = {key[0] for key in table.cells if key[1:] in HEADLINE}
    return sorted({key[0] for key in table.cells}, key=lambda name: (name not in with_headline, name))


def place(key: Key) -> tuple[int, str, str, list[tuple[str, int]]]:
    """Parts as in PARTS, then variants, then metrics with recall_5 before recall_10."""
    _, _, part, variant, metric = key
    metric_parts = re.findall(r"(\D*)(\d*)", metric)
    return [*PARTS, part].index(part), part, variant, [(text, int(number or 0)) for text, number in metric_parts]


def is_share(key: Key) -> bool:
    """Whether a metric is a share of rows, and a percentage in the report."""
    return key[1] not in _NO_SHARES and "loss" not in key[4]


def heading(protocol: str) -> str:
    """A protocol in words."""
    return PROTOCOLS.get(protocol, (protocol.replace("_", " "), ""))[0]


def part_words(part: str) -> str:
    """A part in words."""
    return PARTS.get(part, part)


def words(variant: str) -> str:
    """image_to_text -> image → text; prompt_without_flags -> prompt without flags."""
    return variant.replace("_to_", " → ").replace("_", " ")


def metric_words(metric: str) -> str:
    """The field's own spelling: top_1 -> top-1, recall_5 -> R@5, k_3 -> k = 3."""
    for pattern, spelled in ((r"top_(\d+)$", r"top-\1"), (r"recall_(\d+)$", r"R@\1"), (r"^k_(\d+)$", r"k = \1")):
        metric = re.sub(pattern, spelled, metric)
    return metric.replace("_", " ")


def headline_label(key: Key) -> str:
    """A headline metric in words: Retrieval, image → text, R@10."""
    _, protocol, _, variant, metric = key
    way = f", {words(variant)}" if protocol == "retrieval" else ""
    return f"{heading(protocol)}{way}, {metric_words(metric)}"

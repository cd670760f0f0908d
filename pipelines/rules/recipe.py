"""The recipe of stage select: section `select` of params.yaml as an ordered list of rules, strictly read."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lineage import params
from pipelines.rules import captions, concept_lists, duplicates, frozen, known_pictures, scores
from pipelines.rules import pictures as on_pictures
from pipelines.rules.base import Rule
from pipelines.rules.near_duplicates import NearDuplicate
from pipelines.rules.semantic_duplicates import SemanticDuplicate
from pipelines.selection.rows import Sources

RULES: dict[str, type[Rule]] = {
    "opt_out": known_pictures.OptOut,
    "side": on_pictures.Side,
    "aspect": on_pictures.Aspect,
    "blur": on_pictures.Blur,
    "flatness": on_pictures.Flatness,
    "basic_filter": on_pictures.BasicFilter,
    "caption_length": captions.CaptionLength,
    "caption_words": captions.CaptionWords,
    "caption_letters": captions.CaptionLetters,
    "caption_repetition": captions.CaptionRepetition,
    "boilerplate": captions.Boilerplate,
    "repeated_caption": duplicates.RepeatedCaption,
    "url_like": captions.UrlLike,
    "script": captions.Script,
    "language": captions.Language,
    "clip_score": scores.ClipScore,
    "laion2b": scores.Laion2b,
    "score": scores.Score,
    "top_fraction": scores.TopFraction,
    "text_based": concept_lists.TextBased,
    "image_based": frozen.ImageBased,
    "backdoor": frozen.Backdoor,
    "exact": duplicates.Exact,
    "pixels": duplicates.Pixels,
    "near_duplicate": NearDuplicate,
    "semantic_duplicate": SemanticDuplicate,
    "decontaminate": known_pictures.Decontaminate,
    "decontaminate_vectors": known_pictures.DecontaminateVectors,
    "balance": concept_lists.Balance,
}
"""Every rule by the name it has in a recipe."""

_RESERVED = ("uid", "seen_before", "download", "measure")
"""Labels that verdicts and values use for something else."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SelectConfig:
    """Section `select` of params.yaml."""

    rules: list[dict[str, Any]]
    """The recipe: mappings {rule: NAME, key: value, ...}, `as: LABEL` where a rule stands twice; in order."""
    decontaminate_against: list[str]
    """Evaluation sets whose pictures must not be trained on."""
    val_frac: float
    """Share of kept rows held out for validation, 0 to 1; by duplicate group."""
    num_partitions: int
    """Partitions of keys where rows of the whole snapshot are brought together, 1 to 65536."""
    max_drop_frac: float
    """Largest share of a snapshot's measured, unseen rows that the rules may drop, 0 to 1."""
    on_excess: Literal["warn", "fail"]
    """What happens where they drop more."""
    min_group_rows: int
    """Groups of fewer rows are left out of the exclusion report, >= 1."""

    def __post_init__(self) -> None:
        for name in ("val_frac", "max_drop_frac"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in 0..1, not {getattr(self, name)}")
        if self.val_frac == 1:
            raise ValueError("val_frac must be below 1: no pair would be left to train on")
        if not 1 <= self.num_partitions <= 1 << 16:
            raise ValueError(f"num_partitions must be in 1..65536, not {self.num_partitions}")
        if self.min_group_rows < 1:
            raise ValueError(f"min_group_rows must be >= 1, not {self.min_group_rows}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a recipe."""

    label: str
    """Names it in verdicts and values: the rule's name, or what `as` says."""
    rule: Rule


Recipe = tuple[Step, ...]


def parse(listed: Sequence[Mapping[str, Any]], key: str = "select.rules", path: Any = params.PARAMS) -> Recipe:
    """Returns the steps of a recipe.

    Raises:
        ValueError: for an unknown rule, an unknown or missing key, a wrong type, a value out of range or a label that
            stands twice, naming the place: `params.yaml: select.rules[3].min_px ...`.
    """
    steps = tuple(_step(entry, f"{key}[{number}]", path) for number, entry in enumerate(listed))
    places: dict[str, int] = {}
    for number, step in enumerate(steps):
        if step.label in places:
            raise ValueError(
                f"{path}: {key}[{number}] has the label {step.label} of {key}[{places[step.label]}]; "
                "give one of them a name of its own with `as: NAME`"
            )
        places[step.label] = number
    return steps


def check(recipe: Recipe, sources: Sources, key: str = "select.rules", path: Any = params.PARAMS) -> None:
    """Checks that every rule finds what it needs.

    Raises:
        ValueError: naming the rule's place in the recipe and what it lacks.
    """
    for number, step in enumerate(recipe):
        try:
            step.rule.check(sources)
        except ValueError as error:
            raise ValueError(f"{path}: {key}[{number}] ({step.label}) {error}") from None


def _step(entry: Mapping[str, Any], key: str, path: Any) -> Step:
    name = entry.get("rule")
    if name is None:
        raise ValueError(f"{path}: {key}.rule is missing: which rule is it?")
    if not isinstance(name, str) or name not in RULES:
        raise ValueError(f"{path}: {key}.rule: there is no rule {name!r}; rules: {', '.join(RULES)}")
    label = params.check_name(entry.get("as", name), f"{path}: {key}.as:")
    if label in _RESERVED:
        raise ValueError(f"{path}: {key}.as: {label} is reserved; reserved: {', '.join(_RESERVED)}")
    keys = {word: value for word, value in entry.items() if word not in ("rule", "as")}
    return Step(label=label, rule=params.build(RULES[name], keys, key, path))

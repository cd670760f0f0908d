"""The rules of stage select: each a small frozen dataclass, all of them in the table RULES."""

from pipelines.rules.base import RowRule, SnapshotRule
from pipelines.rules.recipe import RULES, Recipe, SelectConfig, Step, check, parse

__all__ = ["RULES", "Recipe", "RowRule", "SelectConfig", "SnapshotRule", "Step", "check", "parse"]

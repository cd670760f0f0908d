"""Predictions of all models, question by question: at which rank each stands with the truth, row by row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lineage import records

Asked = tuple[str, str, str, str]
"""(set, protocol, part, variant)"""
_COLUMNS = ("set", "protocol", "part", "variant")
Ints = npt.NDArray[np.int64]
Texts = npt.NDArray[np.object_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What one model answered to one question, row by row, in the order of uid and label."""

    uids: Texts
    """(N,) of pictures or sentences; a picture with five captions stands here five times."""
    labels: Texts
    predictions: Texts
    ranks: Ints
    """(N,) where the truth stood; 0 is a hit."""


@dataclass(kw_only=True, slots=True)
class AllAnswers:
    """Of all models."""

    found: dict[Asked, dict[str, dict[int, Answers]]] = field(default_factory=dict)
    """Question -> objective -> seed -> its answers."""

    def on_same_rows(self, asked: Asked) -> dict[str, dict[int, Answers]]:
        """Those of the models that were asked about the very rows that the first was; others compare with nothing."""
        by_objective = self.found.get(asked, {})
        first = next((answers for seeds in by_objective.values() for answers in seeds.values()), None)
        if first is None:
            return {}
        kept = {
            objective: {seed: one for seed, one in seeds.items() if np.array_equal(one.uids, first.uids)}
            for objective, seeds in by_objective.items()
        }
        return {objective: seeds for objective, seeds in kept.items() if seeds}


def read(predictions: Path, objectives: list[str], seeds: list[int]) -> AllAnswers:
    """What PREDICTIONS/OBJECTIVE-SEED.parquet hold.

    Raises:
        FileNotFoundError: a model has no predictions.
    """
    answers = AllAnswers()
    for objective in objectives:
        for seed in seeds:
            path = predictions / f"{objective}-{seed}.parquet"
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing: `dvc repro evaluate@{path.stem}` makes it")
            for asked, one in _questions(records.read_table(path)):
                answers.found.setdefault(asked, {}).setdefault(objective, {})[seed] = one
    return answers


def _questions(table: pa.Table) -> Iterator[tuple[Asked, Answers]]:
    """A table of predictions, cut where the question changes; sorted, so that models stand in one order."""
    if not table.num_rows:
        return
    order = pc.sort_indices(table, [(name, "ascending") for name in (*_COLUMNS, "uid", "label", "rank")])
    table = table.take(order).combine_chunks()
    codes = np.stack([table[name].combine_chunks().dictionary_encode().indices.to_numpy() for name in _COLUMNS])
    turns = np.flatnonzero((np.diff(codes, axis=1) != 0).any(axis=0)) + 1
    for start, stop in zip([0, *turns.tolist()], [*turns.tolist(), table.num_rows], strict=True):
        cut = table.slice(start, stop - start)
        key = tuple(cut[name][0].as_py() for name in _COLUMNS)
        texts = [np.array(cut[name].to_pylist(), dtype=object) for name in ("uid", "label", "prediction")]
        ranks = np.asarray(cut["rank"], dtype=np.int64)
        yield key, Answers(uids=texts[0], labels=texts[1], predictions=texts[2], ranks=ranks)


def hits(seeds: Mapping[int, Answers], ks: Sequence[int]) -> dict[int, npt.NDArray[np.float64]]:
    """k -> (U,) share of hits among the first k, by picture in the order of uid; seeds averaged.

    Captions of one picture are no independent rows, so their hits are averaged too: a picture is what is drawn anew.
    """
    first = next(iter(seeds.values()))
    turn_U = np.flatnonzero(np.r_[True, first.uids[1:] != first.uids[:-1]])
    count_U = np.diff(np.r_[turn_U, len(first.uids)])
    return {
        k: np.add.reduceat(np.mean([one.ranks < k for one in seeds.values()], axis=0), turn_U) / count_U for k in ks
    }

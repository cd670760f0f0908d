"""Predictions of all models, question by question: at which rank each stands with the truth, row by row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What one model answered to one question, row by row, in the order of uid and label."""

    uids: pa.StringArray
    """(N,) of pictures or sentences; a picture with five captions stands here five times."""
    labels: pa.StringArray
    predictions: pa.StringArray
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
            objective: {seed: one for seed, one in seeds.items() if one.uids.equals(first.uids)}
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
                by_objective = answers.found.setdefault(asked, {})
                by_objective.setdefault(objective, {})[seed] = _sharing(one, by_objective)
    return answers


def _sharing(one: Answers, by_objective: Mapping[str, Mapping[int, Answers]]) -> Answers:
    """The same answers, with the first model's uids and labels where they are equal: many models need one copy."""
    first = next((answers for seeds in by_objective.values() for answers in seeds.values()), None)
    if first is None or not (one.uids.equals(first.uids) and one.labels.equals(first.labels)):
        return one
    return replace(one, uids=first.uids, labels=first.labels)


def _questions(table: pa.Table) -> Iterator[tuple[Asked, Answers]]:
    """A table of predictions, cut where the question changes; sorted, so that models stand in one order."""
    if not table.num_rows:
        return
    order = pc.sort_indices(table, [(name, "ascending") for name in (*_COLUMNS, "uid", "label", "rank")])
    codes = np.stack([table[name].combine_chunks().dictionary_encode().indices.to_numpy() for name in _COLUMNS])
    turns = np.flatnonzero((np.diff(codes[:, order.to_numpy()], axis=1) != 0).any(axis=0)) + 1
    for start, stop in zip([0, *turns.tolist()], [*turns.tolist(), table.num_rows], strict=True):
        cut = table.take(order[start:stop]).combine_chunks()  # a copy: a slice would keep the whole table in memory
        key = tuple(cut[name][0].as_py() for name in _COLUMNS)
        uids, labels, predictions = (cut[name].combine_chunks() for name in ("uid", "label", "prediction"))
        ranks = np.array(cut["rank"], dtype=np.int64)
        yield key, Answers(uids=uids, labels=labels, predictions=predictions, ranks=ranks)


def hits(seeds: Mapping[int, Answers], ks: Sequence[int]) -> dict[int, npt.NDArray[np.float64]]:
    """k -> (U,) share of hits among the first k, by picture in the order of uid; seeds averaged.

    Captions of one picture are no independent rows, so their hits are averaged too: a picture is what is drawn anew.
    """
    uids = next(iter(seeds.values())).uids
    turn_U = np.flatnonzero(np.r_[True, pc.not_equal(uids[1:], uids[:-1]).to_numpy(zero_copy_only=False)])
    count_U = np.diff(np.r_[turn_U, len(uids)])
    return {
        k: np.add.reduceat(np.mean([one.ranks < k for one in seeds.values()], axis=0), turn_U) / count_U for k in ks
    }

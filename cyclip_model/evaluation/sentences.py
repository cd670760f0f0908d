"""Sets of sentences, which the text tower meets alone: likeness of meaning (STS-B) and classes (SST-2).

The textual rows of xCLIP (arXiv 2210.09304) name no benchmark that could be confirmed; these are the usual two.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cyclip_model.evaluation import stored
from cyclip_model.evaluation.answers import Results
from cyclip_model.evaluation.encoder import Encoder
from cyclip_model.evaluation.protocols import ProtocolsConfig
from cyclip_model.evaluation.suite import Question
from cyclip_model.metrics import probe, sts
from cyclip_model.metrics.baselines import leaf
from cyclip_model.metrics.zeroshot import normalise
from cyclip_model.sets.layout import TRAIN
from lineage import digests, records

logger = logging.getLogger("clipline")


def _texts(folder: Path, part: str) -> pa.Table:
    return records.read_table(folder / "texts" / f"{part}.parquet")


def compare(encoder: Encoder, folder: Path) -> Results:
    """Spearman correlation of text features' cosines with the people's scores; nothing where either is constant."""
    table, results = _texts(folder, stored.TEST), Results()
    one_ND, other_ND = (normalise(encoder.texts(table[name].to_pylist())) for name in ("sentence_1", "sentence_2"))
    found = sts.spearman(one_ND, other_ND, np.asarray(table["score"], dtype=np.float64))
    if found is None:
        logger.warning("%s: all sentences are alike to the model: no correlation", folder)
        return results
    results.add("sts", stored.TEST, "tower", {"spearman": leaf(found, table.num_rows, chance=0.0)})
    return results


def classify(encoder: Encoder, folder: Path, described: Mapping[str, Any], config: ProtocolsConfig) -> Results:
    """Accuracy of a linear probe on text features."""
    if not stored.has_train(described):
        logger.warning("%s: no train part, so no probe is taken", folder)
        return Results()
    train, test, names = _texts(folder, TRAIN), _texts(folder, stored.TEST), list(described["classnames"])
    train_MD, test_ND = (encoder.texts(table["sentence"].to_pylist()) for table in (train, test))
    truth_M, truth_N = (np.asarray(table["label"], dtype=np.int64) for table in (train, test))
    layer = probe.fit(train_MD, truth_M, len(names), config.probe, device=encoder.device)
    uids = [digests.sha256_bytes(line.encode())[:32] for line in test["sentence"].to_pylist()]
    rows = np.arange(len(uids))
    asked = Question(part=stored.TEST, variant="linear_probe", classes=names, uids=uids, rows=rows, truth=truth_N)
    results = Results()
    results.classify("sentences", asked, probe.logits(test_ND, *layer), [1])
    return results

"""Metrics of evaluation against CLIP_benchmark's own functions, which are fed features that are made already.

    python benchmarks/evaluate.py [--rows 50000] [--pool 20000] [--steps 2000] [--rounds 3]

Zero-shot: rows by 1,000 classes, width 512. Retrieval: as many captions as pictures, both ways, recall at 1, 5 and 10.
Probe: their training loop with our order of rows, from a zero layer, without weight decay, which is where both recipes
are one; their loader is spared: batches are cut from one array. All float32 for them; ours multiplies in float64. On
one thread; what is timed begins when the features are there. Results must be the same: we count what is nearer than
1e-6 as a tie and no hit, so one row in some ten thousand may differ. Memory is the growth of the resident set's peak.
"""

import argparse
import dataclasses
import gc
import math
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import contest
import losses
import measure_run
import numpy as np
import torch
from contest import Contender, Heat

sys.path.insert(0, str(contest.ROOT))
from cyclip_model.metrics import probe, retrieval, zeroshot

_WIDTH, _CLASSES, _BATCH = 512, 1000, 64
_KS = (1, 5, 10)
_GOALS = {"zero-shot": "a third of the time", "retrieval": "a third of the time", "probe": "no more time"}
_SLACK = {"zero-shot": 2e-4, "retrieval": 3e-4, "probe": 1e-3}
"""How far results may lie apart."""
_SMALLEST_SLACK_ROWS = 3


class Loader:
    """Batches as CLIP_benchmark takes them from a loader; more of them each time it is asked."""

    def __init__(self, length: int, batches: Iterator[Any]) -> None:
        self._length, self._batches = length, batches
        self.dataset = SimpleNamespace(classes=range(_CLASSES))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        return (next(self._batches) for _ in range(self._length))


def main() -> None:
    """Measures, or is what is measured."""
    options = _options()
    if options.work:
        return work(options)
    sizes = {"zero-shot": options.rows, "retrieval": options.pool, "probe": options.steps}
    heats, growth = [], {}
    for title, size in sizes.items():
        runs = contest.hold([_contender(f"{who}, {title}", size) for who in ("theirs", "ours")], options.rounds)
        timed = {name: [_inner(run) for run in its] for name, its in runs.items()}
        _agree(title, size, [run.answer["values"] for its in runs.values() for run in its])
        heats.append(Heat(title=title, rows=size, runs=timed, goal=_GOALS[title]))
        growth |= {name: its[0].answer["mib"] for name, its in runs.items()}
    for size in (options.rows, 4 * options.rows):
        growth[f"classify, {size} unit rows"] = contest.measured(_contender("classify", size)).answer["mib"]
    facts = {"growth of the peak over the features, MiB": growth, "values": "equal"}
    contest.report("evaluate", heats, facts, options.results)
    return None


def _contender(name: str, size: int) -> Contender:
    command = [sys.executable, __file__, "--work", name, "--size", str(size)]
    return Contender(name=name, command=command, environment={"OMP_NUM_THREADS": "1"})


def _inner(run: measure_run.Run) -> measure_run.Run:
    return dataclasses.replace(run, wall_s=run.answer["wall_s"], cpu_s=run.answer["cpu_s"])


def _agree(title: str, size: int, found: list[list[float]]) -> None:
    slack = max(_SLACK[title], _SMALLEST_SLACK_ROWS / size)
    if any(max(values) - min(values) > slack for values in zip(*found, strict=True)):
        sys.exit(f"{title}: the results differ: {found}")


def work(options: argparse.Namespace) -> None:
    """Measures one contender and says what it took and found."""
    torch.set_num_threads(1)
    task = TASKS[options.work](options.size)
    gc.collect()
    losses.reset_peak()
    before, cpu, wall = losses.resident_peak(), time.process_time(), time.perf_counter()
    values = task()
    took = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    measure_run.answer(values=values, mib=round(losses.resident_peak() - before, 1), **took)


def pairs(num_rows: int, num_targets: int, noise: float) -> tuple[Any, Any, Any]:
    """float32 unit rows, the unit targets they lie around, and which: rows find theirs about every second time."""
    rng = np.random.default_rng(0)
    target_CD = zeroshot.normalise(rng.standard_normal((num_targets, _WIDTH), np.float32))
    label_N = np.arange(num_rows) % num_targets
    row_ND = target_CD[label_N] + noise * rng.standard_normal((num_rows, _WIDTH), np.float32)
    return zeroshot.normalise(row_ND), target_CD, label_N


Task = Callable[[], list[float]]


def _precomputed() -> Any:
    return SimpleNamespace(encode_image=lambda given: given, encode_text=lambda given: given)


def _zero_shot_theirs(num_rows: int) -> Task:
    from clip_benchmark.metrics import zeroshot_classification

    image_ND, class_CD, label_N = map(torch.from_numpy, pairs(num_rows, _CLASSES, 0.3))
    prompts = {str(number): row_D[None] for number, row_D in enumerate(class_CD)}

    def task() -> list[float]:
        batches = zip(image_ND.split(_BATCH), label_N.split(_BATCH), strict=True)
        loader = Loader(math.ceil(num_rows / _BATCH), batches)
        found = zeroshot_classification.evaluate(
            _precomputed(), loader, lambda given: given, list(prompts), prompts, "cpu", amp=False
        )
        return [found["acc1"], found["acc5"], found["mean_per_class_recall"]]

    return task


def _zero_shot_ours(num_rows: int) -> Task:
    image_ND, prompt_CD, label_N = pairs(num_rows, _CLASSES, 0.3)

    def task() -> list[float]:
        class_CD = zeroshot.class_embeddings(prompt_CD, np.arange(_CLASSES), _CLASSES)
        rank_N = zeroshot.classify(zeroshot.normalise(image_ND), class_CD, label_N).rank_N
        tops = [zeroshot.top_k(rank_N, k) for k in (1, 5)]
        return [*tops, zeroshot.balanced_accuracy(rank_N == 0, label_N)]

    return task


def _classify(num_rows: int) -> Task:
    image_ND, class_CD, label_N = pairs(num_rows, _CLASSES, 0.3)
    return lambda: [zeroshot.top_k(zeroshot.classify(image_ND, class_CD, label_N).rank_N, 1)]


def _retrieval_theirs(num_rows: int) -> Task:
    from clip_benchmark.metrics import zeroshot_retrieval

    text_TD, image_ND, _ = map(torch.from_numpy, pairs(num_rows, num_rows, 0.25))

    def task() -> list[float]:
        texts = ([[row_D] for row_D in part_BD] for part_BD in text_TD.split(_BATCH))
        loader = Loader(math.ceil(num_rows / _BATCH), zip(image_ND.split(_BATCH), texts, strict=True))
        found = zeroshot_retrieval.evaluate(
            _precomputed(), loader, torch.stack, "cpu", amp=False, recall_k_list=list(_KS)
        )
        return [found[f"{way}_retrieval_recall@{k}"] for way in ("text", "image") for k in _KS]

    return task


def _retrieval_ours(num_rows: int) -> Task:
    text_TD, image_ND, group_N = pairs(num_rows, num_rows, 0.25)

    def task() -> list[float]:
        image, text = zeroshot.normalise(image_ND), zeroshot.normalise(text_TD)
        ways = [retrieval.group_ranks(*both, group_N, group_N) for both in ((image, text), (text, image))]
        return [retrieval.recall(rank_N, k) for rank_N in ways for k in _KS]

    return task


def _recipe(num_steps: int) -> tuple[probe.ProbeConfig, Any, Any]:
    """Two epochs of that many steps in all, features and labels."""
    recipe = probe.ProbeConfig(learning_rate=0.005, weight_decay=0.0, epochs=2, batch_size=16, seed=0)
    feature_NF, _, label_N = pairs(num_steps * 16 // 2, 100, 0.3)
    return recipe, feature_NF, label_N


def _probe_theirs(num_steps: int) -> Task:
    from clip_benchmark.metrics import linear_probe

    recipe, feature_NF, label_N = _recipe(num_steps)
    x_NF, y_N = torch.from_numpy(feature_NF), torch.from_numpy(label_N)

    class Zero(torch.nn.Linear):
        def reset_parameters(self) -> None:
            torch.nn.init.zeros_(self.weight)
            torch.nn.init.zeros_(self.bias)

    def here(given: Any) -> Any:
        return given

    # Their loop asks for a GPU and draws the first layer at random; here it gets neither.
    torch.nn.Linear, torch.nn.Module.cuda, torch.Tensor.cuda = Zero, here, here  # type: ignore[assignment,misc]

    def task() -> list[float]:
        generator = torch.Generator().manual_seed(recipe.seed)
        orders = (torch.randperm(len(y_N), generator=generator) for _ in range(recipe.epochs))
        batches = ((x_NF[rows], y_N[rows]) for order in orders for rows in order.split(recipe.batch_size))
        loader = Loader(math.ceil(len(y_N) / recipe.batch_size), batches)
        sizes = (_WIDTH, 100)
        rates = (recipe.weight_decay, recipe.learning_rate)
        layer = linear_probe.train(loader, *sizes, *rates, recipe.epochs, False, "cpu", recipe.seed)
        with torch.no_grad():
            return _of_probe(layer(x_NF).numpy(), label_N)

    return task


def _probe_ours(num_steps: int) -> Task:
    recipe, feature_NF, label_N = _recipe(num_steps)
    return lambda: _of_probe(probe.logits(feature_NF, *probe.fit(feature_NF, label_N, 100, recipe)), label_N)


def _of_probe(logits_NC: Any, label_N: Any) -> list[float]:
    return [float((logits_NC.argmax(axis=1) == label_N).mean()), float(np.abs(logits_NC).mean())]


TASKS: dict[str, Callable[[int], Task]] = {
    "theirs, zero-shot": _zero_shot_theirs,
    "ours, zero-shot": _zero_shot_ours,
    "classify": _classify,
    "theirs, retrieval": _retrieval_theirs,
    "ours, retrieval": _retrieval_ours,
    "theirs, probe": _probe_theirs,
    "ours, probe": _probe_ours,
}


def _options() -> argparse.Namespace:
    parser = contest.parser(__doc__, rows=50_000, rounds=3, workers=1)
    parser.add_argument("--pool", type=int, default=20_000, help="pictures and captions of the retrieval")
    parser.add_argument("--steps", type=int, default=2_000, help="of the probe")
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Training from shards: our trainer against the usual loop, as it comes and tuned alike, on the same shards and towers.

    python benchmarks/train.py [--rows 4096] [--epochs 4] [--stock-rows 1024] [--rounds 2]

stock: webdataset's pipeline through a DataLoader with one worker, decoding and torchvision augmentation picture by
picture, float32, torch's own attention, memory format and threads, AdamW as it comes. tuned: the same loop with our
precision, memory format, attention, threads, fused AdamW and batch-wise augmentation. ours: our trainer with rows
in memory, decoded before the first step; ours ahead: by a worker, when they are first drawn; ours from shards: by a
worker, at every draw. All minimise CLIP's loss in batches of 256 and read the shards from the start; imports and
building are not counted. stock is many times slower and gets fewer rows.
"""

import io
import json
import resource
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from os import getloadavg
from pathlib import Path
from typing import Any

import contest
import measure_run
import synthetic
from contest import Contender, Heat
from measure_run import Run

sys.path.insert(0, str(contest.ROOT))
from lineage import digests, files, params

_LOADERS = {"ours": ("ram", 0), "ours ahead": ("ram", 1), "ours from shards": ("none", 1)}
"""Section loader of each: cache and workers."""
_ROWS_PER_SHARD = 1024
_BATCH = 256


def main() -> None:
    """Measures, or is what is measured."""
    parser = contest.parser(__doc__, rows=4096, rounds=2, workers=1)
    parser.add_argument("--stock-rows", type=int, default=1024, help="rows of the heat against stock, default 1024")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16", help="of tuned and ours")
    parser.add_argument("--data", type=Path, help=contest.argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(options.work, options.data, options.epochs, options.precision)
    fields = (
        ("train, against the usual loop", "ours at most 1 / 1.3 of stock", options.stock_rows, ("stock", "ours")),
        ("train, against the tuned loop", "ours at most 1 of tuned", options.rows, ("tuned", *_LOADERS)),
    )
    heats, loads = [], [round(getloadavg()[0], 1)]
    for field in fields:
        heats.append(_heat(*field, options))
        loads.append(round(getloadavg()[0], 1))
    shares = {
        f"{name}, {heat.rows} samples": [round(run.answer["wait_s"] / run.wall_s, 4) for run in its]
        for heat in heats
        for name, its in heat.runs.items()
    }
    speeds = {
        name: round(heat.rows / contest.median(its, "cpu_s")) for heat in heats for name, its in heat.runs.items()
    }
    facts = {"samples per CPU second": speeds, "share of the time waiting for data": shares}
    facts |= {"precision of tuned and ours": options.precision, "batch": _BATCH, "epochs": options.epochs}
    contest.report("train", heats, {**facts, "load average of the last minute": loads}, options.results)
    return None


def _heat(title: str, goal: str, num_rows: int, names: Sequence[str], options: Any) -> Heat:
    root = Path(tempfile.mkdtemp(prefix="train"))
    try:
        make_shards(root, num_rows)
        script = [sys.executable, __file__, "--data", str(root), "--epochs", str(options.epochs)]
        script += ["--precision", options.precision, "--work"]
        contenders = [Contender(name=name, command=[*script, name]) for name in names]
        runs = {name: [_inside(run) for run in its] for name, its in contest.hold(contenders, options.rounds).items()}
    finally:
        shutil.rmtree(root)
    return Heat(title=title, rows=num_rows // _BATCH * _BATCH * options.epochs, runs=runs, goal=goal)


def _inside(run: Run) -> Run:
    """Returns what training took, without imports and building."""
    taken = {name: run.answer[name] for name in ("wall_s", "cpu_s")}
    return Run(**taken, peak_mib=run.peak_mib, answer=run.answer)


def make_shards(root: Path, num_rows: int) -> None:
    """Writes shards/s1/train/NNNNN.tar and root.json, as stages pack and dataset do."""
    listed = []
    for number, start in enumerate(range(0, num_rows, _ROWS_PER_SHARD)):
        chosen = range(start, min(start + _ROWS_PER_SHARD, num_rows))
        path = root / f"shards/s1/train/{number:05d}.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as archive:
            for n in chosen:
                for end, content in ((synthetic.extension(n), _picture(n)), ("txt", synthetic.caption(n).encode())):
                    member = tarfile.TarInfo(f"{n:032x}.{end}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        shard = {"snapshot": "s1", "shard": f"train/{number:05d}.tar", "split": "train", "rows": len(chosen)}
        listed.append({**shard, "sha256": digests.sha256_file(path)})
    files.write_json(root / "root.json", {"shards": listed})


def _picture(number: int) -> bytes:
    return synthetic.picture(number, synthetic.SMALL_PX)


def work(name: str, data: Path, epochs: int, precision: str) -> None:
    """Trains one way and says what it took."""
    section = params.read(contest.ROOT / "params.yaml")["train"]
    changes = {"epochs": epochs, "batch_size": _BATCH, "micro_batch_size": _BATCH, "precision": precision}
    from cyclip_model.trainer.config import TrainConfig

    config = params.build(TrainConfig, {**section, **changes}, "train", params.PARAMS)
    train = _ours if name in _LOADERS else _usual
    wait_s, wall_s, cpu_s, losses = train(name, data, config)
    measure_run.answer(wait_s=wait_s, wall_s=wall_s, cpu_s=cpu_s, last_loss=losses)


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _ours(name: str, data: Path, config: Any) -> tuple[float, float, float, float]:
    from cyclip_model import losses
    from cyclip_model.model import towers
    from cyclip_model.model.learner import Learner
    from cyclip_model.rows import data as rows_of
    from cyclip_model.rows import loader
    from cyclip_model.trainer import loop, ranks
    from cyclip_model.trainer.determinism import reproducible

    with reproducible(config.threads):
        built = towers.build(config.towers.model_cfg(), towers.preprocess_cfg(config.preprocess), 0)
        learner = Learner(built.model, None, is_bf16=config.precision == "bf16")
        objective = losses.objective("clip")
        mine, told = ranks.join(), data / "timings.jsonl"
        recipe = loop.Recipe(config, lambda found: objective.parts(found, objective.config()), 0, mine, timings=told)
        cache, workers = _LOADERS[name]
        loading = loader.LoaderConfig(cache=cache, workers=workers, prefetch=4)
        start, used = time.perf_counter(), _cpu_s()
        listed = rows_of.verified(data / "root.json", data / "shards")
        rows = rows_of.packed(data / "shards", listed, "train", built)
        with loader.opened(rows, loading, data / "rows", mine.device) as source:
            wait_s = time.perf_counter() - start
            history = loop.fit(learner, source, None, recipe, data / "checkpoint.pt")
        wall_s, cpu_s = time.perf_counter() - start, _cpu_s() - used
    wait_s += sum(line["data_wait"] * line["seconds"] for line in map(json.loads, told.read_text().splitlines()))
    for path in (told, *data.glob("checkpoint*.pt")):
        files.remove(path)
    return wait_s, wall_s, cpu_s, history[-1]["loss"]


def _usual(name: str, data: Path, config: Any) -> tuple[float, float, float, float]:
    import contextlib

    import torch
    from torch.nn.functional import normalize

    from cyclip_model.losses import clip_loss
    from cyclip_model.model import towers
    from cyclip_model.rows import augment
    from cyclip_model.trainer import optim
    from cyclip_model.trainer.determinism import reproducible

    is_tuned = name == "tuned"
    built = towers.build(config.towers.model_cfg(), towers.preprocess_cfg(config.preprocess), 0)
    model = built.model.train()
    if is_tuned:
        model.to(memory_format=torch.channels_last)
    groups = optim.param_groups(model, config.weight_decay)
    optimizer = torch.optim.AdamW(
        groups, lr=config.lr, betas=tuple(config.betas), eps=config.eps, fused=is_tuned or None
    )
    with reproducible(config.threads) if is_tuned else contextlib.nullcontext():
        start, used, wait_s, step, loss = time.perf_counter(), _cpu_s(), 0.0, 0, torch.zeros(())
        num_rows = sum(shard["rows"] for shard in json.loads((data / "root.json").read_text())["shards"])
        num_steps = num_rows // _BATCH * config.epochs
        for epoch in range(config.epochs):
            loader = iter(_loader(built, data, config, is_tuned=is_tuned))
            for number in range(num_rows // _BATCH):
                asked = time.perf_counter()
                images, tokens = next(loader)
                wait_s += time.perf_counter() - asked
                if is_tuned:
                    moved = augment.augment(images, config.augment, augment.draws(0, epoch, number))
                    images = augment.normalise(moved, config.preprocess.mean, config.preprocess.std)
                    images = images.contiguous(memory_format=torch.channels_last)
                optimizer.zero_grad(set_to_none=True)
                with torch.autocast("cpu", torch.bfloat16, enabled=is_tuned and config.precision == "bf16"):
                    image, text = model.encode_image(images), model.encode_text(tokens)
                rows = (normalize(each.float(), dim=-1) for each in (image, text))
                loss = clip_loss(*rows, model.logit_scale.exp())
                loss.backward()
                rate = optim.learning_rate(step, num_steps, config.lr, config.warmup_frac)
                torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip_norm)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.step()
                with torch.no_grad():
                    model.logit_scale.clamp_(0, optim.MAX_LOG_SCALE)
                step += 1
            del loader
        wall_s, cpu_s = time.perf_counter() - start, _cpu_s() - used
    return wait_s, wall_s, cpu_s, float(loss.detach())


def _loader(built: Any, data: Path, config: Any, *, is_tuned: bool) -> Any:
    """Returns the batches of one epoch: uint8 pictures where they are augmented as a batch, else the towers' input."""
    import numpy as np
    import torch
    import webdataset as wds
    from torchvision import transforms

    geometry, to_input = built.preprocess.transforms[:-2], built.preprocess.transforms[-2:]
    bounds, degrees = config.augment, np.degrees(config.augment.rotation_rad)
    views = [
        transforms.RandomAffine(
            degrees, (bounds.shift_frac, bounds.shift_frac), (bounds.scale_min, bounds.scale_max), fill=255
        ),
        transforms.RandomGrayscale(bounds.gray_prob),
    ]
    chosen = geometry if is_tuned else [*geometry, *views, *to_input]

    def picture(image: Any) -> Any:
        for transform in chosen:
            image = transform(image)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1) if is_tuned else image

    def pairs(sample: Any) -> Iterator[Any]:
        return picture(sample[0]), built.tokenizer([sample[1]])[0]

    shards = sorted(str(path) for path in (data / "shards").rglob("*.tar"))
    dataset = wds.WebDataset(shards, shardshuffle=len(shards), seed=0).shuffle(1000).decode("pil")
    dataset = dataset.to_tuple("jpg;png", "txt").map(pairs).batched(_BATCH, partial=False)
    return torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=0 if is_tuned else 1)


if __name__ == "__main__":
    main()

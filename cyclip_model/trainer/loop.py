"""The training loop: rows in memory and freshly built towers to trained weights and one record per epoch.

On one machine, at one thread count and one build of torch, equal inputs give equal bits, also when a killed run goes on
from its last checkpoint: every random draw is a function of (seed, epoch, batch) and the rate one of the step.

Shapes: B batch, C = 3 channels, H and W pixels, L tokens, D embedding.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cyclip_model import losses
from cyclip_model.losses import across
from cyclip_model.model.learner import Learner
from cyclip_model.model.recompute import checkpoint_activations
from cyclip_model.rows import augment, data, views
from cyclip_model.trainer import checkpoint, optim, validation
from cyclip_model.trainer.average import Average
from cyclip_model.trainer.config import TrainConfig
from cyclip_model.trainer.events import Scalars
from cyclip_model.trainer.ranks import Ranks, shared, synchronised
from cyclip_model.trainer.step import backward
from cyclip_model.trainer.timings import Clock
from lineage import stage

logger = logging.getLogger("clipline")

_SAVE_EVERY_S = 300
"""Between checkpoints within an epoch; no result depends on it."""
_UIDS_SHOWN = 8


class Recipe(NamedTuple):
    """Everything but the rows that decides what comes out."""

    config: TrainConfig
    parts: Callable[[losses.Features], dict[str, Tensor]]
    """The objective with its config bound."""
    seed: int
    ranks: Ranks
    """This process among those that train together."""
    temperature: float | None = None
    """Of the softmax over clusters, for an objective that compares pictures and texts by them."""
    timings: Path | None = None
    """Where a line of JSON an epoch says how fast it went: a clock's words, kept out of every result."""
    scalars: Scalars | None = None
    """What every step's scalars are told to, for people."""
    is_contrastive: bool = True
    """Whether held-out pairs watch it by CLIP's loss; else by the objective's own."""
    views: losses.CaptionEdits | None = None
    """How second views are made, where the objective asks for them."""


Record = dict[str, float]
"""One epoch in history.csv, by column."""


def fit(
    learner: Learner, rows: data.Source, held_out: data.Source | None, recipe: Recipe, checkpoint_path: Path
) -> list[Record]:
    """Trains learner in place, leaves it in eval mode on the CPU, and returns one record per epoch.

    Args:
        held_out: what validation.COLUMNS are taken on after each epoch; None where none are wanted.
        checkpoint_path: written after each epoch, and every few minutes within one; a run that finds it goes on from
            there, bit for bit.

    Raises:
        ValueError: there are fewer rows than a batch has, or the loss is no longer a number.
    """
    config = recipe.config
    if len(rows) < config.batch_size:
        raise ValueError(
            f"the data set has {len(rows)} training rows, fewer than train.batch_size = {config.batch_size}: "
            "lower it in params.yaml, or loosen select so that more rows are kept"
        )
    if held_out is not None and not len(held_out):
        logger.warning("the val split is empty: history.csv has no val_loss")
    state = _State(learner, recipe)
    state.resume(checkpoint_path)
    feed = _feed(rows, recipe, len(state.history), len(state.steps))
    for epoch in range(len(state.history), config.epochs):
        record = _epoch(state, rows, feed, recipe, epoch, checkpoint_path)
        if held_out:
            with across.alone():
                record |= validation.validate(state.averaged(), held_out, recipe)
        _refuse_broken(learner, record)
        logger.info("%s", "  ".join(f"{column} {value:.4g}" for column, value in record.items()))
        state.history.append(record)
        state.steps.clear()
        state.save(checkpoint_path)
    if state.average is not None:
        learner.load_state_dict(state.average.learner.state_dict())
    learner.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return state.history


class _State:
    """All that a step changes."""

    def __init__(self, learner: Learner, recipe: Recipe) -> None:
        config = recipe.config
        self.learner = learner
        self.ranks = recipe.ranks
        learner.to(self.ranks.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        synchronised(learner, self.ranks)
        checkpoint_activations(learner.towers, config.checkpoint_activations)
        self.average = Average(learner, config.ema_decay) if config.ema_decay else None
        compiled: torch.nn.Module = torch.compile(learner) if config.compile else learner  # type: ignore[assignment]
        self.forward = shared(compiled, self.ranks)
        groups = optim.param_groups(learner, config.weight_decay)
        betas = (config.betas[0], config.betas[1])
        self.optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=betas, eps=config.eps, fused=True)
        self.history: list[Record] = []
        self.steps: list[Record] = []
        """Of the epoch at hand."""

    def averaged(self) -> Learner:
        """What is validated and kept: the moving average where there is one."""
        return self.learner if self.average is None else self.average.learner

    def save(self, path: Path) -> None:
        """Writes a checkpoint; one rank does, for all are alike."""
        if self.ranks.rank:
            return
        average = None if self.average is None else self.average.learner.state_dict()
        modules = {"learner": self.learner.state_dict(), "average": average, "optimizer": self.optimizer.state_dict()}
        checkpoint.save(path, {**modules, "history": self.history, "steps": self.steps})

    def resume(self, path: Path) -> None:
        """Goes to where the checkpoint was written, if there is one."""
        found = checkpoint.load(path)
        if found is None:
            return
        self.learner.load_state_dict(found["learner"])
        self.optimizer.load_state_dict(found["optimizer"])
        if self.average is not None:
            self.average.learner.load_state_dict(found["average"])
        self.history, self.steps = list(found["history"]), list(found["steps"])
        logger.info("going on after epoch %d, step %d of the next", len(self.history), len(self.steps))


def _feed(rows: data.Source, recipe: Recipe, epoch: int, begun: int) -> Iterator[data.Batch]:
    """The rank's share of every batch from that of an epoch on, one stream to the end: between epochs workers go on."""
    config, own = recipe.config, recipe.ranks.share(recipe.config.batch_size)
    drawn = (data.batches(len(rows), config.batch_size, recipe.seed, number) for number in range(epoch, config.epochs))
    order = itertools.islice(itertools.chain.from_iterable(drawn), begun, None)
    return _on(recipe.ranks.device, rows.stream(batch[own] for batch in order))


def _epoch(
    state: _State, rows: data.Source, feed: Iterator[data.Batch], recipe: Recipe, epoch: int, checkpoint_path: Path
) -> Record:
    """One pass over the rows, or what is left of it; returns the means over its steps."""
    config, steps = recipe.config, state.steps
    batches = data.batches(len(rows), config.batch_size, recipe.seed, epoch)
    num_steps = config.epochs * len(batches)
    state.learner.train()
    own, begun = recipe.ranks.share(config.batch_size), len(steps)
    clock = Clock()
    saved_at = time.monotonic()
    line = _line(recipe, epoch, begun, len(batches))
    for number, drawn in enumerate(clock.waiting_for(itertools.islice(feed, len(batches) - begun)), begun):
        batch, step = batches[number], epoch * len(batches) + number
        # for towers that draw from the global generator, as patch dropout does: resuming must not change what they draw
        torch.manual_seed(augment.draws(recipe.seed, epoch, number).initial_seed())
        with clock.augmenting():
            share = views.Share(recipe.seed, epoch, number, own, config.batch_size)
            images = views.pictures(drawn, config.augment, config.preprocess, share)
            more = views.second(drawn, config.augment, config.preprocess, share, recipe.views) if recipe.views else ()
        state.optimizer.zero_grad(set_to_none=True)
        parts = backward(state.forward, images, drawn.tokens_RL, recipe.parts, config.micro_batch_size, more)
        rate = optim.learning_rate(step, num_steps, config.lr, config.warmup_frac)
        norm = optim.update(state.learner, state.optimizer, rate, config.grad_clip_norm)
        if state.average is not None:
            state.average.follow(state.learner)
        values = across.averaged(torch.stack([value.float() for value in parts.values()])).tolist()
        steps.append({**dict(zip(parts, values, strict=True)), "grad_norm": norm})
        _refuse_nan(steps[-1], step, epoch, [rows.uid[row] for row in batch])
        line.set_postfix(loss=f"{steps[-1]['loss']:.4g}", grad_norm=f"{norm:.3g}", lr=f"{rate:.2g}", refresh=False)
        line.update(config.batch_size)
        if recipe.scalars:
            scale = float(state.learner.towers.logit_scale.detach().exp())
            recipe.scalars(step, {**steps[-1], "lr": rate, "logit_scale": scale})
        if time.monotonic() - saved_at > _SAVE_EVERY_S:
            state.save(checkpoint_path)
            saved_at = time.monotonic()
    line.close()
    if recipe.timings and not recipe.ranks.rank:
        clock.tell(recipe.timings, epoch + 1, (len(batches) - begun) * config.batch_size)
    means = {part: math.fsum(record[part] for record in steps) / len(steps) for part in steps[0]}
    scale = float(state.learner.towers.logit_scale.detach().exp())
    return {
        "epoch": epoch + 1,
        "step": (epoch + 1) * len(batches),
        "lr": optim.learning_rate((epoch + 1) * len(batches) - 1, num_steps, config.lr, config.warmup_frac),
        **means,
        "logit_scale": scale,
        "2B/D": losses.cyclic_unit(config.batch_size, config.towers.embed_dim),
    }


def _line(recipe: Recipe, epoch: int, begun: int, num_batches: int) -> Any:
    """The progress of an epoch in pairs, with the last step's loss, for the rank that speaks."""
    size, is_mute = recipe.config.batch_size, recipe.ranks.rank > 0
    label = f"epoch {epoch + 1} of {recipe.config.epochs}"
    return stage.bar(label, num_batches * size, done=begun * size, unit="pairs", is_mute=is_mute)


def _on(device: torch.device, feed: Iterator[data.Batch]) -> Iterator[data.Batch]:
    for batch in feed:
        yield data.Batch(*(rows.to(device, non_blocking=True) for rows in batch))


def _refuse_broken(learner: Learner, record: Record) -> None:
    """Raises ValueError where an epoch's last step broke the weights: its loss was a number still."""
    is_whole = all(bool(torch.isfinite(value).all()) for value in learner.parameters())
    if not is_whole or not all(math.isfinite(value) for value in record.values()):
        raise ValueError(
            f"training broke down in the last step of epoch {record['epoch']:.0f}: what its weights make is no number; "
            "try a lower train.lr or a higher train.warmup_frac"
        )


def _refuse_nan(record: Record, step: int, epoch: int, uids: list[str]) -> None:
    if not all(math.isfinite(value) for value in record.values()):
        raise ValueError(
            f"training broke down at step {step} (epoch {epoch + 1}): loss {record['loss']}, gradient norm "
            f"{record['grad_norm']}; try a lower train.lr, a higher train.warmup_frac, or train.precision: fp32; "
            f"the batch: {' '.join(uids[:_UIDS_SHOWN])}{' ...' if len(uids) > _UIDS_SHOWN else ''}"
        )


def exposure(num_rows: int, config: TrainConfig, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """How often each row was drawn into a batch, int64 (num_rows,)."""
    counts = np.zeros(num_rows, dtype=np.int64)
    for epoch in range(config.epochs):
        counts[data.batches(num_rows, config.batch_size, seed, epoch)] += 1
    return counts

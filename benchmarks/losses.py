"""The losses against their textbook forms: time and peak memory of forward and backward, over batch and width.

    python benchmarks/losses.py [--rows 65536] [--widths 128 512 1024] [--rounds 3]

Textbook: the B x B matrices, by torch's own cross_entropy and autograd. Ours: tiles, and D x D matrices. Every case is
a fresh process on one thread; float32 unit rows, logit scale 14.3. Memory is the growth of the resident set's peak over
inputs and gradients. What a textbook form would need above --gib is not run, and said to be so. Values must agree.
"""

import argparse
import ctypes
import gc
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contest
import measure_run

sys.path.insert(0, str(contest.ROOT))
from lineage import files

_LEAST = 256
_SCALE = 14.3
_TEXTBOOK_MATRICES = {"clip": 7, "cyclic": 6, "cyclip": 11}
"""B x B matrices that a textbook form holds at once, at most: for what is not run."""
_PAIRS = {
    "clip": ("clip, textbook", "clip"),
    "cyclic": ("cyclic, textbook", "cyclic, two lambdas"),
    "cyclic, one lambda": ("cyclic, textbook", "cyclic, one lambda"),
    "cyclip": ("cyclip, textbook", "cyclip"),
    "cyclip over clip": ("cyclip", "clip"),
}
_TOO_LONG = {65536: 128}
"""Widest D measured at a batch: beyond, a case takes many minutes."""


def main() -> None:
    """Measures, or is what is measured."""
    options = _options()
    if options.work:
        return work(options.work, options.batch, options.width, options.rounds)
    cases = []
    for width in options.widths:
        for batch in batches(options.rows):
            if width <= _TOO_LONG.get(batch, width):
                cases += of_size(batch, width, options)
    content = {"benchmark": "losses", "cases": cases, "ratios": ratios(cases), "machine": contest.machine()}
    files.write_json(options.results / "losses.json", content)
    draw(cases, options.results / "losses.svg")
    sys.stdout.write(f"{table(cases)}\n{ratio_table(content['ratios'])}\n{options.results / 'losses.json'}\n")
    return None


def batches(most: int) -> list[int]:
    """Batch sizes, four times more each."""
    found = [_LEAST * 4**place for place in range(8) if _LEAST * 4**place <= most]
    return found or [most]


def of_size(batch: int, width: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measures every form; forms of one loss must agree."""
    cases = []
    for form in FORMS:
        loss, _, kind = form.partition(", ")
        need = _TEXTBOOK_MATRICES[loss] * batch**2 * 4 / 2**30
        case: dict[str, Any] = {"form": form, "batch": batch, "width": width}
        if kind == "textbook" and need > options.gib:
            cases.append({**case, "not_run": f"would need about {need:.0f} GiB"})
            continue
        command = [sys.executable, __file__, "--work", form, "--batch", str(batch), "--width", str(width)]
        rounds = 1 if batch > 4096 else options.rounds
        done = measure_run.measure([*command, "--rounds", str(rounds)], environment={"OMP_NUM_THREADS": "1"})
        cases.append({**case, **done.answer})
        contest.say(f"{form}, B {batch}, D {width}: {done.answer['cpu_s']:.4f} s, {done.answer['mib']:.0f} MiB")
    for loss in _TEXTBOOK_MATRICES:
        values = [case["value"] for case in cases if case["form"].partition(", ")[0] == loss and "value" in case]
        if max(values) - min(values) > 1e-4 * max(values):
            sys.exit(f"{loss} at B {batch}, D {width}: the forms differ: {values}")
    return cases


def work(form: str, batch: int, width: int, rounds: int) -> None:
    """Measures one form and says what it took: least CPU seconds, and MiB of the first run."""
    import torch
    from torch.nn.functional import normalize

    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [normalize(torch.randn(batch, width), dim=1) for _ in range(2)]
    rows[1] = normalize(rows[0] + rows[1], dim=1)
    scale = torch.tensor(_SCALE, requires_grad=True)
    given = [each.requires_grad_() for each in rows]
    for each in given:
        each.grad = torch.zeros_like(each)
    small = [normalize(torch.randn(8, width), dim=1).requires_grad_() for _ in range(2)]
    FORMS[form](*small, scale).backward()  # what torch sets up once
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # else what was freed before hides what is taken now
    reset_peak()
    before, seconds, walls, value, mib = resident_peak(), [], [], 0.0, 0.0
    for number in range(rounds):
        start, wall = time.process_time(), time.perf_counter()
        loss = FORMS[form](*given, scale)
        loss.backward()
        seconds.append(time.process_time() - start)
        walls.append(time.perf_counter() - wall)
        if number == 0:
            value, mib = float(loss.detach()), resident_peak() - before
    measure_run.answer(value=value, cpu_s=min(seconds), wall_s=min(walls), mib=round(mib, 1))


def reset_peak() -> None:
    """Has the kernel forget the peak of this process's resident set."""
    Path("/proc/self/clear_refs").write_text("5")


def resident_peak() -> float:
    """Returns the peak of this process's resident set since the last reset, MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def _clip_textbook(image: Any, text: Any, scale: Any) -> Any:
    import torch
    from torch.nn.functional import cross_entropy

    logits, target = scale * image @ text.T, torch.arange(len(image))
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


def _cyclic_textbook(image: Any, text: Any, _scale: Any) -> Any:
    cross = image @ text.T
    in_modal = (image @ image.T - text @ text.T).square().sum()
    return (in_modal + (cross - cross.T).square().sum()) / len(image)


def _cyclip_textbook(image: Any, text: Any, scale: Any) -> Any:
    return _clip_textbook(image, text, scale) + 0.25 * _cyclic_textbook(image, text, scale)


def _clip(image: Any, text: Any, scale: Any) -> Any:
    from cyclip_model.losses import clip_loss

    return clip_loss(image, text, scale)


def _cyclic(image: Any, text: Any, _scale: Any) -> Any:
    from cyclip_model.losses import cyclic_losses

    return sum(cyclic_losses(image, text))


def _cyclic_one(image: Any, text: Any, _scale: Any) -> Any:
    from cyclip_model.losses.cyclip import cyclic_sum

    return cyclic_sum(image, text)


def _cyclip(image: Any, text: Any, scale: Any) -> Any:
    from cyclip_model.losses.clip import Features
    from cyclip_model.losses.cyclip import CyclipConfig, cyclip_parts

    weights = {"lambda_in_modal": 0.25, "lambda_cross_modal": 0.25}
    config = CyclipConfig(
        **weights, cyclic_scale="paper", inmodal_views=False, token_delete_prob=0.0, token_swap_prob=0.0
    )
    return cyclip_parts(Features(image, text, scale), config)["loss"]


FORMS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "clip, textbook": _clip_textbook,
    "clip": _clip,
    "cyclic, textbook": _cyclic_textbook,
    "cyclic, two lambdas": _cyclic,
    "cyclic, one lambda": _cyclic_one,
    "cyclip, textbook": _cyclip_textbook,
    "cyclip": _cyclip,
}


def ratios(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns each pair's ratio of CPU seconds and of memory, the first over the second, where both were run."""
    by_case = {(case["form"], case["batch"], case["width"]): case for case in cases if "value" in case}
    found = []
    for name, (first, second) in _PAIRS.items():
        for form, batch, width in by_case:
            if form == second and (first, batch, width) in by_case:
                one, other = by_case[first, batch, width], by_case[second, batch, width]
                times, memory = one["cpu_s"] / other["cpu_s"], one["mib"] / max(other["mib"], 1.0)
                found.append({"ratio": name, "batch": batch, "width": width, "cpu": times, "memory": memory})
    return found


def table(cases: list[dict[str, Any]]) -> str:
    """Returns the cases in Markdown."""
    lines = ["| form | B | D | CPU s | wall s | MiB |", "|---|---|---|---|---|---|"]
    for case in cases:
        shown = (
            f"{case['cpu_s']:.4f} | {case['wall_s']:.4f} | {case['mib']:.0f}" if "value" in case else case["not_run"]
        )
        lines.append(f"| {case['form']} | {case['batch']} | {case['width']} | {shown} |")
    return "\n".join(lines) + "\n"


def ratio_table(found: list[dict[str, Any]]) -> str:
    """Returns the ratios in Markdown."""
    lines = ["| first over second | B | D | CPU | memory |", "|---|---|---|---|---|"]
    for one in found:
        pair = " / ".join(_PAIRS[one["ratio"]])
        lines.append(f"| {pair} | {one['batch']} | {one['width']} | {one['cpu']:.2f} | {one['memory']:.2f} |")
    return "\n".join(lines) + "\n"


def draw(cases: list[dict[str, Any]], path: Path) -> None:
    """Draws CPU seconds and memory over the batch, a column a width."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"svg.hashsalt": "clipline", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    widths, fields = sorted({case["width"] for case in cases}), {"cpu_s": "CPU seconds", "mib": "peak memory, MiB"}
    size = (4.2 * len(widths), 6.4)
    figure, axes = plt.subplots(2, len(widths), figsize=size, sharex=True, sharey="row", squeeze=False)
    for column, width in enumerate(widths):
        for axis, (field, label) in zip(axes[:, column], fields.items(), strict=True):
            for place, form in enumerate(FORMS):
                ran = [case for case in cases if (case["form"], case["width"]) == (form, width) and "value" in case]
                style = "--" if "textbook" in form else "-"
                shown = [max(case[field], 1.0 if field == "mib" else 0.0) for case in ran]
                axis.plot([case["batch"] for case in ran], shown, f"o{style}", ms=3, label=form, color=f"C{place}")
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            axis.set_xticks([_LEAST * 4**place for place in range(5)])
            for scale in (axis.xaxis, axis.yaxis):  # by default labels are TeX, which no browser reads
                scale.set_major_formatter(lambda value, _: f"{value:,.10g}")
                scale.set_minor_formatter(lambda *_: "")
            axis.grid(visible=True, alpha=0.3)
            axis.set_ylabel(label if column == 0 else "")
        axes[0][column].set_title(f"D = {width}, forward and backward")
        axes[1][column].set_xlabel("batch")
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _options() -> argparse.Namespace:
    parser = contest.parser(__doc__, rows=65_536, rounds=3, workers=1)
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 512, 1024])
    parser.add_argument("--gib", type=float, default=14.0, help="most memory that a textbook form may need")
    parser.add_argument("--batch", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--width", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

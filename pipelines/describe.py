"""Says what a picture file, or opt-outs, are to the pipeline, for those who do not read pictures themselves.

python -m pipelines.describe PICTURE                  {"sha256": ..., "phash": ...}
python -m pipelines.describe --opt-outs FILE [...]    [[kind, value], ...] of records.OPTOUTS
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from lineage import params, stage
from lineage.questions import subjects
from pipelines import optouts, pictures


def main(
    entries: Annotated[list[str], typer.Argument(help="A picture file; or opt-outs: values, or files of them.")],
    is_opt_outs: Annotated[bool, typer.Option("--opt-outs", help="Read the entries as opt-outs.")] = False,
) -> None:
    """Prints what entries are, as JSON."""
    if is_opt_outs:
        found = sorted({pair for entry in entries for pair in _opt_outs(entry)})
        sys.stdout.write(json.dumps(found) + "\n")
        return
    (entry,) = entries
    sys.stdout.write(json.dumps(dict(optouts.parse(entry, "picture", params.PARAMS))) + "\n")


def _opt_outs(entry: str) -> list[optouts.Entry]:
    path = Path(entry)
    if not path.is_file():
        return optouts.parse(entry, "host" if subjects.recognise(entry) == "domain" else None, params.PARAMS)
    is_picture = pictures.sniff(path.read_bytes()[:32]) is not None
    return optouts.parse(entry, "picture" if is_picture else None, params.PARAMS)


if __name__ == "__main__":
    with stage.user_errors():  # not as a stage's command: there a URL is a path in a bucket
        typer.run(main)

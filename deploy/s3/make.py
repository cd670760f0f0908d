"""Writes dvc.yaml as a bucket deployment wants it, to stdout: python deploy/s3/make.py > deploy/s3/dvc.yaml.

The DAG stays what it is, deps, outs and params included: DVC sees pointers where the objects were. Before a path in the
commands that lies in the bucket stands its root. Outs there are persistent, so that a stage always runs to make them:
from its run cache DVC would bring back pointers, but not the objects. tests/test_house.py holds the result to dvc.yaml.
"""

import sys
from pathlib import Path

IN_BUCKET = (
    *(f"data/{name}" for name in "source raw signals benchmarks screen embeddings test_embeddings".split()),
    *(f"data/{name}" for name in "selection shards dataset index predictions".split()),
    "models",
)
"""Lists, sets, the small roots, provenance, results, the report and the audit's index stay local."""
HEAD = """# Made from dvc.yaml by deploy/s3/make.py; do not edit. A clone that has it as its
# dvc.yaml, and in its params.yaml a line `root: s3://BUCKET/PREFIX`, keeps its data there: docs/operations.md.
"""


def on_buckets(dag: str) -> str:
    """Returns the text of dvc.yaml for stages whose data lie in the bucket `${root}`."""
    made, key = HEAD, ""
    for line in dag[dag.index("stages:") :].splitlines():
        key = line if line.startswith("    ") and line[4] != " " else key
        if key == line and line.startswith("    cmd: "):
            line = " ".join("${root}/./" + word if _lies_in_bucket(word) else word for word in line.split(" "))
        elif key == "    outs:" and _lies_in_bucket(line.removeprefix("      - ")):
            line += ":\n          persist: true"
        made += f"{line}\n"
    return made


def _lies_in_bucket(word: str) -> bool:
    return any(f"{word}/".startswith(f"{place}/") for place in IN_BUCKET)


if __name__ == "__main__":
    sys.stdout.write(on_buckets((Path(__file__).parents[2] / "dvc.yaml").read_text(encoding="utf-8")))

"""Pipelines outside the shape that every runner gets right are refused before they run, each for its reason."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from pipelines import shape


class Late(beam.DoFn):  # type: ignore[misc]
    """Gives its elements out when the bundle ends: Dask loses them."""

    def process(self, element: str) -> Iterator[str]:
        yield element

    def finish_bundle(self) -> None:
        pass


def chain() -> tuple[beam.Pipeline, Any]:
    pipeline = beam.Pipeline(runner="FnApiRunner")
    return pipeline, pipeline | "tasks" >> beam.Create([1]) | "spread" >> beam.Reshuffle() | "work" >> beam.Map(str)


def test_the_chain_passes() -> None:
    pipeline, end = chain()
    shape.check(pipeline)
    _ = end | beam.FlatMap(lambda text: [(text, 1)]) | beam.GroupByKey() | beam.Map(str)
    shape.check(pipeline)


BAD: dict[str, tuple[Callable[[Any], Any], str]] = {
    "finish_bundle": (lambda end: end | "step" >> beam.ParDo(Late()), "a DoFn of its own"),
    "two leaves": (lambda end: [end | beam.Map(str), end | "step" >> beam.Map(str)], "one chain with one end"),
    "two roots": (lambda end: end.pipeline | "step" >> beam.Create([1]), "one chain with one end"),
    "combine": (lambda end: end | "step" >> beam.combiners.Count.Globally(), "Globally is not one of"),
    "tagged": (lambda end: end | "step" >> beam.Map(str).with_outputs("a", "b"), "is not one of"),
    "side input": (lambda end: end | "step" >> beam.Map(lambda x, _: x, beam.pvalue.AsList(end)), "side inputs"),
    "batches": (lambda end: end | "step" >> beam.BatchElements(), "BatchElements is not one of"),
    "flatten": (lambda end: (end,) | "step" >> beam.Flatten(), "Flatten is not one of"),
    "dead letters": (lambda end: end | "step" >> beam.Map(str).with_exception_handling(), "is not one of"),
}


@pytest.mark.parametrize("kind", BAD)
def test_anything_else_is_refused(kind: str) -> None:
    pipeline, end = chain()
    build, words = BAD[kind]
    build(end)
    with pytest.raises(ValueError, match=f"step 'step': .*{words}.*; some runners would give wrong results"):
        shape.check(pipeline)


def test_no_other_module_builds_pipelines() -> None:
    folder = Path(shape.__file__).parent
    beam_import = re.compile(r"^ *(import|from) apache_beam", re.MULTILINE)
    importers = {path.name for path in folder.rglob("*.py") if beam_import.search(path.read_text())}
    assert importers == {"engine.py", "shape.py", "beam_worker.py"}  # the last runs a worker, and builds none

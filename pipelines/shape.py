"""The one shape of pipeline that every runner gets right, as a check that a pipeline passes before it runs.

Outside of it some runners go wrong without an error: they lose what finish_bundle gives out, give every tagged output
all elements, or run only the last of several leaves.
"""

from typing import Any

import apache_beam as beam
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.transforms.core import CallableWrapperDoFn

_ALLOWED = (beam.Create, beam.Reshuffle, beam.GroupByKey)


def check(pipeline: beam.Pipeline) -> None:
    """Lets a pipeline pass that is one chain of Create, Reshuffle, Map, FlatMap and GroupByKey over plain functions.

    Raises:
        ValueError: if it is anything else, naming the step.
    """
    steps = _Steps()
    pipeline.visit(steps)
    for before, step in zip([None, *steps.found], steps.found, strict=False):
        reason = _reason(before, step)
        if reason:
            raise ValueError(f"step {step.full_label!r}: {reason}; some runners would give wrong results")


def _reason(before: AppliedPTransform | None, step: AppliedPTransform) -> str | None:
    """Returns what is not allowed about a step, None where nothing is."""
    transform = step.transform
    if isinstance(transform, beam.ParDo):
        if not isinstance(transform.fn, CallableWrapperDoFn):
            return "a DoFn of its own instead of Map or FlatMap"
    elif not isinstance(transform, _ALLOWED):
        return f"{type(transform).__name__} is not one of Create, Reshuffle, Map, FlatMap, GroupByKey"
    if step.side_inputs:
        return "side inputs"
    if len(step.outputs) > 1:
        return "more than one output"
    if before is not None and list(step.inputs) != list(before.outputs.values()):
        return "it does not follow the step before, and one chain with one end is all that is allowed"
    return None


class _Steps(PipelineVisitor):  # type: ignore[misc]
    """Collects the steps as the pipeline names them, without what they are made of."""

    def __init__(self) -> None:
        self.found: list[Any] = []

    def enter_composite_transform(self, transform_node: AppliedPTransform) -> None:
        self._note(transform_node)

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        self._note(transform_node)

    def _note(self, node: AppliedPTransform) -> None:
        if node.parent is not None and node.parent.parent is None:
            self.found.append(node)

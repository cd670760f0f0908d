"""The flat summary: the headline only, means over seeds."""

from cyclip_model.reporting import summary
from cyclip_model.reporting.results import Cell, Table


def test_the_headlines_means_by_one_name_each() -> None:
    cell = Cell(by_seed={0: 0.1, 1: 0.2}, chances=[], majority=None, n=4)
    made = Table(objectives=["clip"], seeds=[0, 1])
    for metric in ("top_1", "balanced_accuracy"):
        made.cells["cifar10", "zero_shot", "test", "prompt", metric] = {"clip": cell}
    assert summary.flat(made) == {"cifar10/zero_shot/test/prompt/top_1/clip": 0.15}

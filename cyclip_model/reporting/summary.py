"""The headline as flat numbers, for `dvc metrics diff`: of a hundred lines a reader sees which have moved."""

from cyclip_model.metrics.baselines import DIGITS
from cyclip_model.reporting.families import headline_keys
from cyclip_model.reporting.results import Table


def flat(table: Table) -> dict[str, float]:
    """SET/PROTOCOL/PART/VARIANT/METRIC/OBJECTIVE -> mean over seeds, of the headline's metrics."""
    return {
        "/".join((*key, objective)): round(cell.mean, DIGITS)
        for key in headline_keys(table)
        for objective, cell in table.cells[key].items()
    }

"""What a bill of materials lists of the DAG: models, the data set, the roots, and which of them rests on which."""

import dataclasses

from lineage import edges
from lineage.exports.attested import Attested

DATA_SET = "data/dataset"
ROOT = f"{DATA_SET}/root.json"
_STAGE, _PACK = "dataset", "pack"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ingredients:
    """`models` is {instance: out}, `data` {path: digest}; `rests_on` {path: paths it was made from, the nearest}."""

    models: dict[str, str]
    data: dict[str, str]
    rests_on: dict[str, list[str]]


def ingredients(attested: Attested) -> Ingredients:
    """Returns the models, the data set and the roots that reach them, in a revision."""
    graph = attested.graph
    outs = {name: sorted(instance.outs) for name, instance in graph.instances.items()}
    models = {name: out for name, made in outs.items() for out in made if out.startswith("models/")}
    listed = dict(models)
    if _STAGE in graph.instances:
        listed[_STAGE] = DATA_SET
    rests_on = {path: _nearest(attested, name, listed) for name, path in listed.items()}
    reached = {path for needed in rests_on.values() for path in needed} | set(listed.values())
    data = {path: attested.outs[path] for path in sorted(reached) if path not in models.values()}
    return Ingredients(
        models=models, data=data, rests_on=rests_on | {path: [] for path in data if path not in rests_on}
    )


def _nearest(attested: Attested, start: str, listed: dict[str, str]) -> list[str]:
    """Returns what an instance was made from, each way up to the first listed thing; shards are the data set."""
    graph, makers = attested.graph, attested.graph.makers()
    found: set[str] = set()
    seen: set[str] = set()
    pending = [start]
    while pending:
        name = pending.pop()
        read = [out for path in graph.instances[name].deps for out in edges.producing(path, attested.outs)]
        for out in read:
            maker = makers[out]
            if maker.partition("@")[0] == _PACK and start != _STAGE and _STAGE in listed:
                maker = _STAGE
            if maker in listed:
                found.add(listed[maker])
            elif maker not in graph.instances:
                found |= {out} - graph.unrun.keys()
            elif maker not in seen:
                seen.add(maker)
                pending.append(maker)
    return sorted(found - {listed[start]})

"""OpenLineage run events: one START and one COMPLETE a stage instance, at the times its run record gives.

A job is a stage instance, a data set an out, a root, or a file in an out that a stage reads on its own; its version is
DVC's digest. The parent of every run is the DAG as dvc.lock has it, which has no events: no record times it as a whole.
Nothing of a picture or a caption stands in an event, and no row of a list.
"""

import datetime
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.generated.base import DatasetFacet, JobFacet, OutputDatasetFacet, RunFacet
from openlineage.client.generated.dataset_type_dataset import DatasetTypeDatasetFacet
from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet
from openlineage.client.generated.execution_parameters_run import ExecutionParameter, ExecutionParametersRunFacet
from openlineage.client.generated.job_type_job import JobTypeJobFacet
from openlineage.client.generated.output_statistics_output_dataset import OutputStatisticsOutputDatasetFacet
from openlineage.client.generated.parent_run import Job as ParentJob
from openlineage.client.generated.parent_run import ParentRunFacet
from openlineage.client.generated.parent_run import Run as ParentRun
from openlineage.client.generated.processing_engine_run import ProcessingEngineRunFacet
from openlineage.client.generated.schema_dataset import SchemaDatasetFacet, SchemaDatasetFacetFields
from openlineage.client.generated.source_code_location_job import SourceCodeLocationJobFacet
from openlineage.client.generated.tags_run import TagsRunFacet, TagsRunFacetFields
from openlineage.client.uuid import generate_static_uuid

from lineage import digests
from lineage.exports.attested import Attested, Piece, flat, text

PRODUCER = "https://clipline.example/lineage"
PIPELINE = "dvc.yaml"
"""The job that is every stage's parent."""
_TAGS = ("code", "requirements", "device", "dirty", "cpu_seconds", "peak_memory_bytes")
_COUNTS = ("rows_in", "kept", "dropped", "failed")
_PARQUET = ".parquet"


def events(attested: Attested, namespace: str) -> list[RunEvent]:
    """Returns the events of all instances that a run record attests, in order of time."""
    known = [name for name in sorted(attested.graph.instances) if attested.record(name) is not None]
    made = [event for name in known for event in _run(attested, name, namespace)]
    return sorted(made, key=lambda event: event.eventTime)  # stable: START stands before COMPLETE


def run_id(record: dict[str, Any]) -> str:
    """Returns the id of a recorded run: that of its start and of the record's own digest."""
    return str(generate_static_uuid(_instant(record["started"]), record["sha256"].encode()))


def _run(attested: Attested, name: str, namespace: str) -> Iterator[RunEvent]:
    record = attested.record(name)
    assert record is not None
    run = Run(runId=run_id(record), facets=_run_facets(attested, name, namespace, record))
    job = Job(namespace=namespace, name=name, facets=_job_facets(attested, name, record))
    inputs = [
        InputDataset(namespace=namespace, name=piece.path, facets=_facets(piece)) for piece in attested.inputs(name)
    ]
    outputs = [
        OutputDataset(
            namespace=namespace,
            name=piece.path,
            facets=_facets(piece) | _schema(attested, piece),
            outputFacets=_statistics(attested, name, piece),
        )
        for piece in attested.outputs(name)
    ]
    begun = [OutputDataset(namespace=namespace, name=made.name) for made in outputs]
    for state, moment, made in (
        (RunState.START, float(record["started"]), begun),
        (RunState.COMPLETE, float(record["started"] + record["seconds"]), outputs),
    ):
        yield RunEvent(
            eventType=state,
            eventTime=_instant(moment).isoformat(timespec="milliseconds"),
            run=run,
            job=job,
            inputs=inputs,
            outputs=made,
            producer=PRODUCER,
        )


def _run_facets(attested: Attested, name: str, namespace: str, record: dict[str, Any]) -> dict[str, RunFacet]:
    lock = digests.sha256_bytes(attested.at.read("dvc.lock") or b"")
    parent = ParentRunFacet(
        run=ParentRun(runId=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PRODUCER}/{lock}"))),
        job=ParentJob(namespace=namespace, name=PIPELINE),
        producer=PRODUCER,
    )
    params = sorted(flat(attested.graph.instances[name].params.get("params.yaml", {})))
    counts = [(key, value) for key, value in attested.counts(name).items() if key.split(".")[0] in _COUNTS]
    told = [(key, record[key]) for key in _TAGS if record.get(key) is not None]
    versions = sorted((f"version.{key}", value) for key, value in flat(record.get("versions") or {}))
    tags = [TagsRunFacetFields(key=key, value=text(value), source="RUN_RECORD") for key, value in (*told, *versions)]
    tags += [TagsRunFacetFields(key=key, value=text(value), source="PROVENANCE") for key, value in counts]
    return {
        "parent": parent,
        "processing_engine": ProcessingEngineRunFacet(
            version=str(record.get("python", "unknown")), name="Python", producer=PRODUCER
        ),
        "executionParameters": ExecutionParametersRunFacet(
            parameters=[ExecutionParameter(key=key, name=key, value=text(value)) for key, value in params],
            producer=PRODUCER,
        ),
        "tags": TagsRunFacet(tags=tags, producer=PRODUCER),
    }


def _job_facets(attested: Attested, name: str, record: dict[str, Any]) -> dict[str, JobFacet]:
    facets: dict[str, JobFacet] = {
        "jobType": JobTypeJobFacet(processingType="BATCH", integration="DVC", jobType="TASK", producer=PRODUCER)
    }
    stage = name.partition("@")[0]
    module = next((path for path in attested.graph.instances[name].deps if path.endswith(f"/{stage}.py")), PIPELINE)
    commit = record.get("commit")
    if isinstance(commit, str) and re.fullmatch(r"[0-9a-f]{40}", commit):
        facets["sourceCodeLocation"] = SourceCodeLocationJobFacet(
            type="git", url=f"swh:1:rev:{commit}", path=module, version=commit, producer=PRODUCER
        )
    return facets


def _facets(piece: Piece) -> dict[str, DatasetFacet]:
    kind = "MODEL" if piece.path.startswith("models/") else "FILE"
    return {
        "version": DatasetVersionDatasetFacet(datasetVersion=piece.digest, producer=PRODUCER),
        "datasetType": DatasetTypeDatasetFacet(datasetType=kind, producer=PRODUCER),
    }


def _statistics(attested: Attested, name: str, piece: Piece) -> dict[str, OutputDatasetFacet]:
    """Returns rows, bytes and files of an out, where its rows are known: a parquet file's own, or what the stage kept.

    Rows were required in this facet until its version 1-0-2: without them there is none.
    """
    if piece.path.endswith(_PARQUET):
        place = attested.place(piece.path)
        rows = None if place is None else _footer(place, "num_rows")
    else:
        rows = attested.counts(name).get("kept") if piece.path.startswith("data/") else None
    if not isinstance(rows, int):
        return {}
    size, files = attested.sizes.get(piece.path, (None, None))
    facet = OutputStatisticsOutputDatasetFacet(rowCount=rows, size=size, fileCount=files, producer=PRODUCER)
    return {"outputStatistics": facet}


def _schema(attested: Attested, piece: Piece) -> dict[str, DatasetFacet]:
    """Returns the columns of a parquet file; of a folder, those of one file of each name in it, digits aside."""
    if piece.path.endswith(_PARQUET):
        fields = _columns(attested, piece.path)
    elif piece.path in attested.outs and piece.digest.endswith(".dir"):
        names = sorted(file for file in attested.files(piece.path) if file.endswith(_PARQUET))
        first = {re.sub(r"\d+", "*", file): file for file in reversed(names)}
        found = {pattern: _columns(attested, f"{piece.path}/{file}") for pattern, file in sorted(first.items())}
        fields = [SchemaDatasetFacetFields(name=name, type="parquet", fields=inner) for name, inner in found.items()]
        fields = [field for field in fields if field.fields]
    else:
        fields = []
    return {"schema": SchemaDatasetFacet(fields=fields, producer=PRODUCER)} if fields else {}


def _columns(attested: Attested, path: str) -> list[SchemaDatasetFacetFields]:
    place = attested.place(path)
    schema = _footer(place, "schema") if place is not None else None
    return [SchemaDatasetFacetFields(name=field.name, type=str(field.type)) for field in schema or ()]


def _footer(place: Path, what: str) -> Any:
    """Returns `schema` or `num_rows` of a parquet file, None if it is none."""
    try:
        with pq.ParquetFile(place) as file:
            return file.schema_arrow if what == "schema" else file.metadata.num_rows
    except (pa.ArrowException, OSError):
        return None


def _instant(moment: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC)

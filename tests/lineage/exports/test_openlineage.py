"""OpenLineage events and their emission: valid by the schema, true times, the same again, read by a consumer."""

import http.server
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lineage import runs
from tests.lineage.conftest import call
from tests.lineage.exports import event_schema, small
from tests.lineage.exports.conftest import Export

PUBLISHED = Path(os.environ.get("OPENLINEAGE_SPEC", Path(__file__).parents[1] / "openlineage"))
HIDDEN = "s3cr3t"


def events(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def complete(found: list[dict[str, Any]], job: str) -> dict[str, Any]:
    return next(event for event in found if event["job"]["name"] == job and event["eventType"] == "COMPLETE")


def datasets(event: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {dataset["name"]: dataset for dataset in event[kind]}


class Consumer(http.server.BaseHTTPRequestHandler):
    """Takes posted events as an OpenLineage server does; keeps path, authorization and body of each."""

    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.taken.append((self.path, self.headers.get("Authorization"), json.loads(body)))
        status = server.answer(len(server.taken))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def consumer(answer: Callable[[int], int] = lambda _: 201) -> Iterator[Any]:
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Consumer)
    server.taken, server.answer = [], answer
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_every_event_and_facet_is_valid_by_the_schema_of_the_client(export: Export) -> None:
    found = events(export("openlineage"))
    assert len(found) == 14
    assert [problem for event in found for problem in event_schema.problems(event, event_schema.from_client)] == []
    kinds = {facet["_schemaURL"].rpartition("/")[2] for event in found for facet in event_schema.facets(event)}
    assert len(kinds) == 10


@pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="the published schema is not here: name its folder in OPENLINEAGE_SPEC"
)
def test_every_event_and_facet_is_valid_by_the_published_schema(export: Export) -> None:
    schema_of = event_schema.published(PUBLISHED)
    found = events(export("openlineage"))
    assert all(schema_of(event["schemaURL"]) is not None for event in found)
    problems = [problem for event in found for problem in event_schema.problems(event, schema_of)]
    assert [problem for problem in problems if "no such schema" not in problem] == []


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (["eventTime"], "yesterday", "is not a 'date-time'"),
        (["eventType"], "DONE", "is not one of"),
        (["run", "runId"], "1", "is not a 'uuid'"),
        (["run", "facets", "parent", "job"], {"name": "x"}, "'namespace' is a required property"),
        (["job", "facets", "jobType", "integration"], 7, "is not of type 'string'"),
        (["job", "facets", "jobType", "made_up"], "x", "Additional properties are not allowed"),
        (["job", "facets", "jobType", "_schemaURL"], "https://example.org/none", "no such schema"),
        (["outputs", 0, "name"], None, "is not of type 'string'"),
        (["outputs", 0, "outputFacets", "outputStatistics", "rowCount"], "1", "is not of type 'integer'"),
        (["outputs", 0, "facets", "schema", "fields", 0, "fields", 0, "name"], 1, "is not of type 'string'"),
    ],
)
def test_the_schema_refuses_what_is_wrong(export: Export, place: list[Any], value: Any, said: str) -> None:
    event = complete(events(export("openlineage")), "source")
    at: Any = event
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    assert any(said in problem for problem in event_schema.problems(event, event_schema.from_client))


def test_times_are_those_of_the_records_and_runs_have_both_ends(export: Export) -> None:
    found = events(export("openlineage"))
    told = {(event["job"]["name"], event["eventType"]): event["eventTime"] for event in found}
    assert told["source", "START"] == "2026-09-21T14:13:26.500+00:00"  # 1 790 000 006.5
    assert told["source", "COMPLETE"] == "2026-09-21T14:13:28.750+00:00"
    assert [event["eventTime"] for event in found] == sorted(event["eventTime"] for event in found)
    ends: dict[str, list[str]] = {}
    for event in found:
        ends.setdefault(event["run"]["runId"], []).append(event["eventType"])
    assert len(ends) == 7
    assert all(ends[run] == ["START", "COMPLETE"] for run in ends)


def test_inputs_and_outputs_join_up_by_name_and_version(export: Export) -> None:
    found = [event for event in events(export("openlineage")) if event["eventType"] == "COMPLETE"]
    made = {(d["name"], d["facets"]["version"]["datasetVersion"]) for event in found for d in event["outputs"]}
    read = {(d["name"], d["facets"]["version"]["datasetVersion"]) for event in found for d in event["inputs"]}
    assert {name for name, _ in read - made} == {"data/lists/s1", "models/clip-1"}  # a root, and the unattested one
    pack = complete(found, "pack")
    assert set(datasets(pack, "inputs")) == {"data/source/s1/source.parquet", "models/scorer"}
    assert set(datasets(complete(found, "train@clip-0"), "inputs")) == {"data/dataset/root.json", "data/shards/s1"}
    assert set(datasets(complete(found, "source"), "inputs")) == {"data/lists/s1"}, "code is no data set"


def test_rows_bytes_and_columns_of_outputs(export: Export) -> None:
    found = events(export("openlineage"))
    source = datasets(complete(found, "source"), "outputs")
    statistics = source["data/source/s1"]["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"], statistics["fileCount"]) == (1, 7, 2)
    columns = source["data/source/s1/source.parquet"]["facets"]["schema"]["fields"]
    assert [column["name"] for column in columns][:3] == ["uid", "url", "caption"]
    folder = source["data/source/s1"]["facets"]["schema"]["fields"]
    assert [(field["name"], field["type"]) for field in folder] == [("source.parquet", "parquet")]
    model = datasets(complete(found, "train@clip-0"), "outputs")["models/clip-0"]
    assert model["facets"]["datasetType"]["datasetType"] == "MODEL"
    assert model["outputFacets"] == {}, "its rows are not those it was trained on"
    predictions = datasets(complete(found, "evaluate@clip-0"), "outputs")["data/predictions/clip-0.parquet"]
    assert predictions["outputFacets"]["outputStatistics"]["rowCount"] == 1


def test_params_counts_and_the_commit_are_told_and_nothing_of_a_row(export: Export) -> None:
    done = export("openlineage")
    source = complete(events(done), "source")
    run, job = source["run"]["facets"], source["job"]["facets"]
    assert [(item["key"], item["value"]) for item in run["executionParameters"]["parameters"]] == [
        ("source.max_url_chars", "20")
    ]
    tags = {tag["key"]: tag["value"] for tag in run["tags"]["tags"]}
    assert (tags["rows_in"], tags["dropped.too_small"], tags["dirty"]) == ("2", "1", "false")
    assert job["sourceCodeLocation"]["version"] == small.COMMIT
    assert job["sourceCodeLocation"]["path"] == "pipelines/source.py"
    assert small.CAPTION not in done.stdout
    assert small.URL not in done.stdout
    assert "pictures.example" not in done.stdout


def test_a_second_export_and_one_of_the_commit_are_the_same_bytes(checkout: Path, export: Export) -> None:
    first = export("openlineage").stdout
    assert export("openlineage").stdout == first
    assert export("openlineage", "--rev", "HEAD").stdout == first
    for path in ("runs/pack.jsonl", "dvc.lock", "data/source/s1/source.parquet"):
        (checkout / path).unlink()
    assert export("openlineage", "--rev", "HEAD").stdout == first, "git and DVC's cache are enough"


def test_an_instance_without_a_record_has_no_events_and_is_named(export: Export) -> None:
    done = export("openlineage")
    assert small.UNATTESTED not in {event["job"]["name"] for event in events(done)}
    assert f"warning: 1 left out: no run record made what dvc.lock holds: {small.UNATTESTED}\n" in done.stderr


def test_a_record_of_other_outs_attests_nothing(checkout: Path, export: Export) -> None:
    lock = (checkout / "dvc.lock").read_text()
    digest = json.loads((checkout / "runs" / "pack.jsonl").read_text())["outs"]["data/shards/s1"]
    (checkout / "dvc.lock").write_text(lock.replace(digest, "0" * 32 + ".dir"))
    done = export("openlineage", "--json", "--out", "events.ndjson")
    left_out = json.loads(done.stdout)["left_out"]["no run record made what dvc.lock holds"]
    assert "pack" in left_out
    assert "source" not in left_out


def test_a_clone_with_manifests_alone(checkout: Path, export: Export, tmp_path: Path) -> None:
    call(tmp_path, "git", "clone", "-q", str(checkout), "clone")
    found = events(export("openlineage", cwd=tmp_path / "clone"))
    assert len(found) == 14
    assert [problem for event in found for problem in event_schema.problems(event, event_schema.from_client)] == []
    shards = datasets(complete(found, "pack"), "outputs")["data/shards/s1"]
    assert "schema" not in shards["facets"]
    assert shards["outputFacets"] == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace('"seconds": 2.25', '"seconds": 1'), r"runs/train\.jsonl:2 .*chain of train@clip-0"),
        (lambda text: text.replace('"started"', '"begun"'), r"runs/train\.jsonl:1 .*started is missing or wrong"),
        (lambda text: re.sub(r'"started": [0-9.]+', '"started": NaN', text), r":1 .*started is missing or wrong"),
        (lambda text: re.sub(r'"started": [0-9.]+', '"started": 1e300', text), r":1 .*started is missing or wrong"),
        (lambda text: re.sub(r'"versions": {.*?}', '"versions": [1]', text), r":1 .*versions is missing or wrong"),
        (lambda text: "[]\n" + text, r"runs/train\.jsonl:1 .*expected a JSON object"),
        (lambda text: "{\n" + text, r"runs/train\.jsonl:1 .*not JSON"),
    ],
)
def test_a_broken_record_is_one_line(checkout: Path, export: Export, change: Callable[[str], str], said: str) -> None:
    file = checkout / "runs" / "train.jsonl"
    line = file.read_text()
    first = json.loads(line)
    runs.append("train", {key: value for key, value in first.items() if key != "previous"}, checkout / "runs")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(change(lines[0]) + lines[1])
    done = export("openlineage")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert re.search(said, done.stderr), done.stderr


def test_a_consumer_reads_the_posted_events(export: Export) -> None:
    printed = events(export("openlineage"))
    with consumer() as server:
        address = f"http://127.0.0.1:{server.server_port}"
        done = export("openlineage", "--url", f"{address}/api/v1/lineage", OPENLINEAGE_API_KEY=HIDDEN)
        assert done.returncode == 0, done.stderr
        assert export("openlineage", "--url", address).returncode == 0
    half = len(server.taken) // 2
    assert {(path, key) for path, key, _ in server.taken[:half]} == {("/api/v1/lineage", f"Bearer {HIDDEN}")}
    assert {(path, key) for path, key, _ in server.taken[half:]} == {("/api/v1/lineage", None)}
    for taken in (server.taken[:half], server.taken[half:]):
        assert [event for *_, event in taken] == printed
    assert not [
        problem for *_, event in server.taken for problem in event_schema.problems(event, event_schema.from_client)
    ]
    assert HIDDEN not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda number: 400 if number == 3 else 201, "the server answered 400; 2 of 14 events were taken"),
        (lambda _: 503, "0 of 14 events were taken"),
        (lambda _: 302, "the server redirects; give the address it redirects to; 0 of 14 events were taken"),
    ],
)
def test_a_refused_event_is_one_line_without_the_secret(
    export: Export, answer: Callable[[int], int], said: str
) -> None:
    with consumer(answer) as server:
        url = f"http://user:{HIDDEN}@127.0.0.1:{server.server_port}/{HIDDEN}?token={HIDDEN}"
        done = export("openlineage", "--url", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: http://127.0.0.1:{server.server_port}: ")
    assert done.stderr.endswith(f"{said}\n")
    assert done.stderr.count("\n") == 1
    assert HIDDEN not in done.stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"http://user:{HIDDEN}@127.0.0.1:9/{HIDDEN}", "error: http://127.0.0.1:9: it cannot be reached"),
        (f"ftp://{HIDDEN}@host/x", "error: --url: expected an address like"),
        (f"http://[{HIDDEN}", "error: --url: expected an address like"),
        (HIDDEN, "error: --url: expected an address like"),
    ],
)
def test_an_address_that_takes_nothing(export: Export, url: str, said: str) -> None:
    done = export("openlineage", "--url", url)
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert HIDDEN not in done.stdout + done.stderr
    assert done.stderr.count("\n") == 1

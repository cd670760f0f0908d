"""The Croissant card with PROV: valid by mlcroissant, a graph for rdflib, from a model down to the lists."""

import json
from pathlib import Path
from typing import Any

import mlcroissant
import pytest
import rdflib
from rdflib.namespace import PROV, RDF, XSD

from lineage import digests
from tests.lineage.conftest import call
from tests.lineage.exports import small
from tests.lineage.exports.conftest import Export

CARD = Path("data/dataset/croissant.json")
MLCROISSANT = pytest.mark.filterwarnings(
    "ignore:ConjunctiveGraph is deprecated:DeprecationWarning", "ignore:unclosed file:ResourceWarning"
)
"""What mlcroissant and its rdflib do."""


def card(export: Export, *args: str) -> dict[str, Any]:
    done = export("croissant", *args)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def graph(content: dict[str, Any]) -> rdflib.Graph:
    made = rdflib.Graph()
    made.parse(data=json.dumps(content), format="json-ld")
    return made


def named(found: rdflib.Graph, name: str) -> rdflib.term.Node:
    return next(found.subjects(rdflib.URIRef("https://schema.org/name"), rdflib.Literal(name, lang="en")))


@MLCROISSANT
def test_mlcroissant_takes_it_and_reads_what_the_first_card_said(checkout: Path, export: Export) -> None:
    first = mlcroissant.Dataset(jsonld=checkout / CARD).metadata
    assert export("croissant", "--out", "data/release/croissant.json").returncode == 0
    again = mlcroissant.Dataset(jsonld=checkout / "data/release/croissant.json").metadata
    assert not again.issues.errors
    assert again.issues.warnings == first.issues.warnings
    assert [entry.name for entry in again.distribution] == [entry.name for entry in first.distribution]
    assert [entry.id for entry in again.record_sets] == [entry.id for entry in first.record_sets]
    assert (again.name, again.version, again.license) == (first.name, first.version, first.license)


@MLCROISSANT
def test_the_graph_leads_from_every_model_and_the_data_set_to_the_list(export: Export) -> None:
    found = graph(card(export))
    for model in ("models/scorer", "models/clip-0", "models/clip-1", "data/dataset/root.json"):
        sources = set(found.transitive_objects(named(found, model), PROV.wasDerivedFrom))
        assert named(found, "data/lists/s1") in sources, model
    dataset = next(found.subjects(RDF.type, rdflib.URIRef("https://schema.org/Dataset")))
    assert list(found.objects(dataset, PROV.wasDerivedFrom)) == [named(found, "data/lists/s1")]
    assert list(found.objects(dataset, PROV.wasGeneratedBy)) == [named(found, "dataset")]
    assert not list(found.subjects(PROV.wasDerivedFrom, named(found, "models/clip-0")))


@MLCROISSANT
def test_digests_times_and_code_are_those_of_lock_and_records(checkout: Path, export: Export) -> None:
    found = graph(card(export))
    identifier = rdflib.URIRef("https://schema.org/identifier")
    (shown,) = found.objects(named(found, "data/source/s1/source.parquet"), identifier)
    assert str(shown) == f"md5: {digests.md5_file(checkout / 'data/source/s1/source.parquet')}"
    (shown,) = found.objects(named(found, "data/lists/s1"), identifier)
    assert str(shown) == f"md5 of DVC's listing: {digests.dvc_digest(checkout / 'data/lists/s1')[:-4]}"
    run = named(found, "source")
    (started,) = found.objects(run, PROV.startedAtTime)
    assert started == rdflib.Literal("2026-09-21T14:13:26.500+00:00", datatype=XSD.dateTime)
    (agent,) = found.objects(run, PROV.wasAssociatedWith)
    assert (agent, RDF.type, PROV.SoftwareAgent) in found
    untold = named(found, small.UNATTESTED)
    assert not list(found.objects(untold, PROV.startedAtTime))
    assert not list(found.objects(untold, PROV.wasAssociatedWith))


def test_nothing_of_a_row_and_no_person_stands_in_it(export: Export) -> None:
    done = export("croissant")
    for word in (small.CAPTION, small.URL, "pictures.example", "Test", "test@example.org"):
        assert word not in done.stdout
    assert f"times and code of stages without a run record: {small.UNATTESTED}\n" in done.stderr


def test_equal_bytes_again_and_from_the_commit(checkout: Path, export: Export) -> None:
    first = export("croissant").stdout
    assert export("croissant").stdout == first
    (checkout / CARD).write_text("{}")
    assert export("croissant").stdout == first, "what is on disk is not what was recorded; the cache has that"
    assert export("croissant", "--rev", "HEAD").stdout == first


def test_without_the_card_it_says_how_to_get_it(checkout: Path, export: Export, tmp_path: Path) -> None:
    call(tmp_path, "git", "clone", "-q", str(checkout), "clone")
    done = export("croissant", cwd=tmp_path / "clone")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "error: data/dataset/croissant.json: not here as recorded in the working tree; `dvc pull"
    )
    assert done.stderr.count("\n") == 1

from typing import Any

from lineage.site.drawing import drawing


def graph(num_snapshots: int) -> dict[str, Any]:
    nodes: dict[str, Any] = {"select": node("select", "all", 10 * num_snapshots, 8 * num_snapshots)}
    edges = []
    for number in range(num_snapshots):
        name = f"s{number:02d}"
        nodes[f"source@{name}"] = node("source", name, 12, 10)
        edges.append(edge(f"source@{name}", f"data/lists/{name}", []))
        edges.append(edge("select", f"data/source/{name}", [f"source@{name}"]))
    edges.append(edge("select", "provenance/source", [f"source@s{number:02d}" for number in range(num_snapshots)]))
    return {"nodes": nodes, "edges": edges}


def node(stage: str, instance: str, rows_in: int, kept: int) -> dict[str, Any]:
    return {"stage": stage, "instance": instance, "counts": {"rows_in": rows_in, "kept": kept}}


def edge(reader: str, path: str, producers: list[str]) -> dict[str, Any]:
    return {"reader": reader, "path": path, "digest": "0" * 32, "producers": producers}


def test_every_instance_has_a_box_with_its_counts() -> None:
    made = drawing(graph(2))
    shown = {(box.title, box.instance, box.note) for box in made.nodes if box.kind != "root"}
    assert shown == {("source", "s00", "10 of 12"), ("source", "s01", "10 of 12"), ("select", "", "16 of 20")}
    assert {box.title for box in made.nodes if box.kind == "root"} == {"data/lists/s00", "data/lists/s01"}


def test_edges_tell_how_many_rows_went() -> None:
    labels = {arrow.title.split(":")[0]: arrow.label for arrow in drawing(graph(2)).arrows}
    assert labels == {
        "data/lists/s00 → source@s00": "12",
        "data/lists/s01 → source@s01": "12",
        "source@s00 → select": "10",
        "source@s01 → select": "10",
    }


def test_what_is_read_of_provenance_is_left_out() -> None:
    assert not any("provenance" in arrow.title for arrow in drawing(graph(3)).arrows)


def test_many_snapshots_are_one_box_a_stage() -> None:
    made = drawing(graph(20))
    assert {(box.title, box.instance, box.note) for box in made.nodes} == {
        ("source", "× 20", "200 of 240"),
        ("select", "", "160 of 200"),
        ("data/lists/…", "", ""),
    }
    assert sorted(arrow.label for arrow in made.arrows) == ["200", "240"]
    assert made.width < 400

"""Rows go from a parquet file; all else of it stays, and nothing of them is left in its dictionaries or statistics."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import parquet_rows

GONE = "a word of a row that goes"


def test_rows_go_with_their_words_and_all_else_stays(tmp_path: Path) -> None:
    schema = pa.schema([("n", pa.int8()), ("word", pa.dictionary(pa.int32(), pa.string()))], metadata={"k": "v"})
    table = pa.table({"n": [1, 2, 3, 4, 5], "word": ["a", GONE, None, "b", GONE]}).cast(schema)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2, compression="none")
    assert GONE.encode() in (tmp_path / "a.parquet").read_bytes()
    seen: list[int] = []

    def goes(rows: pa.Table) -> list[bool]:
        seen.append(rows.num_rows)
        return [word == GONE for word in rows["word"].to_pylist()]

    parquet_rows.drop(tmp_path / "a.parquet", tmp_path / "b.parquet", goes)
    left = pq.ParquetFile(tmp_path / "b.parquet")
    assert seen == [2, 2, 1]
    assert left.read().to_pylist() == table.take([0, 2, 3]).to_pylist()
    assert left.schema_arrow.equals(schema, check_metadata=True)
    assert left.metadata.row_group(0).column(0).compression == "UNCOMPRESSED"
    assert GONE.encode() not in (tmp_path / "b.parquet").read_bytes()


def test_of_an_empty_file_the_schema_stays(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": pa.array([], pa.int8())}), tmp_path / "a.parquet")
    parquet_rows.drop(tmp_path / "a.parquet", tmp_path / "b.parquet", lambda rows: [True] * rows.num_rows)
    assert pq.read_schema(tmp_path / "b.parquet") == pq.read_schema(tmp_path / "a.parquet")

import pytest

from flows import pending


@pytest.mark.parametrize(
    "source", ["https://bob:word@a.test/list.csv", "https://bob@a.test/list.csv", "s3://key:word@bucket/x"]
)
def test_a_url_with_a_secret_in_it_is_refused_without_showing_it(source: str) -> None:
    with pytest.raises(ValueError, match="a user or password does not belong") as caught:
        pending.refuse_secrets(source)
    assert "word@" not in str(caught.value)
    assert "bob" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("https://a.test/list.csv?X-Amz-Signature=secret", "https://a.test/list.csv"),
        ("s3://bucket/lists/*.parquet", "s3://bucket/lists/*.parquet"),
        ("lists/a?b.csv", "lists/a?b.csv"),
    ],
)
def test_what_is_shown_of_a_source_has_no_query(source: str, shown: str) -> None:
    pending.refuse_secrets(source)
    assert pending.shown(source) == shown

"""S3 on loopback: moto's server, spoken to over real HTTP."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from lineage import remote

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
BUCKET = "pairs"
ROOT = f"s3://{BUCKET}/a/b"
RAW = Path(".mirror/s3/pairs/a/b/-/data/raw/s1")
"""The mirror of ROOT/./data/raw/s1."""


@contextmanager
def served_bucket() -> Iterator[dict[str, str]]:
    """Yields the environment in which BUCKET, empty at first, is reached."""
    import s3fs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
        client(environment).create_bucket(Bucket=BUCKET)
        yield environment
    finally:
        s3fs.S3FileSystem.clear_instance_cache()  # it knows this server's address
        server.stop()


def client(environment: dict[str, str]) -> Any:
    """Returns a client of our own, so that a test sees what the code under test cannot have cached."""
    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    )


def objects(environment: dict[str, str], prefix: str = "") -> dict[str, bytes]:
    """Returns the bytes of every object whose key starts with `prefix`, by the rest of the key."""
    s3 = client(environment)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return {key.removeprefix(prefix): s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def emptied(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the code under test reach the bucket, without objects; returns a client."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    s3 = client(environment)
    for key in objects(environment):
        s3.delete_object(Bucket=BUCKET, Key=key)
    return s3


def lay(content: dict[str, bytes], folder: Path) -> Path:
    """Writes files by name into a new folder, and returns it."""
    folder.mkdir(parents=True)
    for name, held_bytes in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(held_bytes)
    return folder


def push(content: dict[str, bytes], out: Path = RAW) -> None:
    """Puts files into the bucket as a stage does, which leaves nothing of them in the mirror."""
    remote.push(lay(content, Path("made")), out)
    shutil.rmtree("made")


def held(folder: Path = RAW) -> dict[str, bytes]:
    """Returns the bytes of every file in a folder, by name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put(s3: Any, name: str, content: bytes, **metadata: str) -> None:
    """Puts an object of our own into RAW's place; one that is put over it has not its mark."""
    s3.put_object(Bucket=BUCKET, Key=f"a/b/data/raw/s1/{name}", Body=content, Metadata={"by": "hand", **metadata})


def head(s3: Any, name: str) -> Any:
    """Returns what is known of an object in RAW's place."""
    return s3.head_object(Bucket=BUCKET, Key=f"a/b/data/raw/s1/{name}")

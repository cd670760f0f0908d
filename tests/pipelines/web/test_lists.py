from pathlib import Path
from typing import Any

import pytest

from pipelines.web import lists
from pipelines.web.addresses import AddressPolicy, parse_networks
from pipelines.web.lists import PassingError
from tests.pipelines.fault_server import FaultServer, answer, drip, endless, reset, self_signed

HERE = AddressPolicy(allowed=parse_networks(["127.0.0.0/8"]))
TEXT = b"url,caption\nhttp://a.test/1.png,a picture\n"


def save(url: str, folder: Path, policy: AddressPolicy = HERE, **bounds: Any) -> Path:
    return lists.save(
        url, folder, policy=policy, user_agent="test/1", **{"max_bytes": 1000, "deadline_s": 5.0, **bounds}
    )


def test_a_list_is_saved_under_its_name_behind_redirects(tmp_path: Path) -> None:
    with FaultServer({"/a": answer(b"", 302, {"Location": "/lists/b.csv"}), "/lists/b.csv": answer(TEXT)}) as server:
        path = save(server.url("/lists/b.csv"), tmp_path)
        assert path == tmp_path / "b.csv"
        assert path.read_bytes() == TEXT
        assert save(server.url("/a"), tmp_path).read_bytes() == TEXT
    assert any("User-Agent: test/1" in line for line in server.heads[0])


@pytest.mark.parametrize(
    ("made", "error", "words"),
    [
        (answer(b"gone", 404), ValueError, "HTTP 404"),
        (answer(b"", 403), ValueError, "HTTP 403"),
        (answer(b"", 302, {"Location": "/list.csv"}), ValueError, "more than 5 redirects"),
        (answer(b"", 302, {"Location": "http://169.254.169.254/latest/list.csv"}), ValueError, "169.254.169.254"),
        (answer(b"", 302, {"Location": "http://127.0.0.1:22/list.csv"}), ValueError, "port"),
        (answer(b"", 302, {"Location": "file:///etc/passwd"}), ValueError, "something else than http"),
        (answer(bytes(1001)), ValueError, "more than 1000 bytes"),
        (endless, ValueError, "more than 1000 bytes"),
        (answer(b"", 503), PassingError, "HTTP 503"),
        (answer(b"", 429), PassingError, "HTTP 429"),
        (answer(TEXT, short_by=10), PassingError, "ClientPayloadError"),
        (reset, PassingError, "list.csv"),
    ],
)
def test_what_goes_wrong_is_told_and_leaves_nothing(tmp_path: Path, made: Any, error: type, words: str) -> None:
    with FaultServer({"/list.csv": made}) as server:
        with pytest.raises(error, match=words):
            save(server.url("/list.csv"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_dripping_server_cannot_stretch_the_deadline(tmp_path: Path) -> None:
    with FaultServer({"/list.csv": drip}) as server, pytest.raises(PassingError, match=r"within 0\.5 s"):
        save(server.url("/list.csv"), tmp_path, deadline_s=0.5)
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_not_allowed_is_never_asked(tmp_path: Path) -> None:
    with FaultServer({"/list.csv": answer(TEXT)}) as server:
        for host in ("127.0.0.1", "localhost", "2130706433"):
            with pytest.raises(ValueError, match=r"address"):
                save(f"http://{host}:{server.port}/list.csv", tmp_path, AddressPolicy(allowed=[]))
        assert not server.heads


def test_a_certificate_nobody_vouches_for_is_final(tmp_path: Path) -> None:
    with FaultServer({"/list.csv": answer(TEXT)}, tls=self_signed(tmp_path)) as server:
        with pytest.raises(ValueError, match="certificate"):
            save(server.url("/list.csv").replace("http:", "https:"), tmp_path / "out")


def test_nobody_there_may_pass_and_no_name_is_told(tmp_path: Path) -> None:
    with FaultServer({}) as server:
        pass
    with pytest.raises(PassingError):
        save(f"http://127.0.0.1:{server.port}/list.csv", tmp_path)
    with pytest.raises(ValueError, match="must end in a file's name"):
        save("http://a.test/", tmp_path)

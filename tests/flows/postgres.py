"""A Postgres server of a test's own, from the programs of Debian's package, on loopback."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.flows.server import free_port

_USER = "postgres"
"""Postgres refuses to be run by root; the package makes this user."""


def programs() -> Path | None:
    """Returns the folder of the newest Postgres there is."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(folders, key=lambda folder: float(folder.parent.name), default=None)


class Postgres:
    """One cluster in a folder that its user may enter, which pytest's own are not."""

    def __init__(self, folder: Path) -> None:
        self._programs, self._port, self._word = folder, free_port(), secrets.token_hex(16)
        self.folder = Path(tempfile.mkdtemp(prefix="clipline-postgres-"))

    @property
    def url(self) -> str:
        """The database, as Prefect is told it."""
        return f"postgresql+asyncpg://clipline:{self._word}@127.0.0.1:{self._port}/postgres"

    def __enter__(self) -> "Postgres":
        word = self.folder / "word"
        word.write_text(self._word)
        if os.getuid() == 0:
            owner = pwd.getpwnam(_USER)
            for path in (self.folder, word):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        data = str(self.folder / "data")
        access = ("--username=clipline", "--auth=scram-sha-256", f"--pwfile={word}")
        self._run("initdb", f"--pgdata={data}", *access, "--encoding=UTF8", "--locale=C", "--no-sync")
        options = f"-p {self._port} -h 127.0.0.1 -k {self.folder}"
        self._run("pg_ctl", f"--pgdata={data}", "-o", options, f"--log={self.folder}/log", "--wait", "start")
        return self

    def __exit__(self, *_: object) -> None:
        self._run("pg_ctl", f"--pgdata={self.folder}/data", "--mode=immediate", "--wait", "stop")
        shutil.rmtree(self.folder)

    def query(self, sql: str) -> list[str]:
        """Returns the rows that a query yields, as psql writes them."""
        where = ("--host=127.0.0.1", f"--port={self._port}", "--username=clipline", "postgres")
        return self._run("psql", "--no-align", "--tuples-only", f"--command={sql}", *where).splitlines()

    def _run(self, program: str, *words: str) -> str:
        done = subprocess.run(
            [str(self._programs / program), *words],
            cwd=self.folder,
            env={**os.environ, "PGPASSWORD": self._word},
            user=_USER if os.getuid() == 0 else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{program}: {done.stdout}"
        return done.stdout

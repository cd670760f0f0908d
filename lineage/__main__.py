"""Questions about pictures, models and where results come from: `python -m lineage --help`."""

import io
import os
import sys

import typer

from lineage import stage
from lineage.commands import diff, export, impact, report, trace, verify, who_saw, why

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
for _name, _question in (
    ("trace", trace.trace),
    ("who-saw", who_saw.command),
    ("why", why.command),
    ("impact", impact.command),
    ("verify", verify.verify),
    ("diff", diff.command),
    ("export", export.export),
    ("report", report.report),
):
    app.command(_name)(_question)


@app.callback()
def lineage() -> None:
    """Answers questions about lineage, offline, from dvc.yaml, dvc.lock, .dvc files and git."""


def main() -> None:
    """Runs the command line; a user's mistake is one line and exit status 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an answer need not stop at a terminal of few letters
    with stage.user_errors():
        try:
            _answer()
        except (BrokenPipeError, FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or what could not be written is tried again at exit
            raise ValueError(f"{error.filename or 'output'}: {error.strerror or error}") from None


def _answer() -> None:
    try:
        app()
    finally:
        sys.stdout.flush()  # here, where what goes wrong can still be told


if __name__ == "__main__":
    main()

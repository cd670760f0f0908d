"""A worker process of the embedded Beam runner that dies with the stage it works for.

    python -m pipelines.beam_worker PID     # started by the runner, which says the rest in the environment

Beam's own would live on for a while after a kill -9 of the stage, and write into the scratch of the next run.
"""

import sys

from lineage import orphans


def main(parent: int) -> None:
    """Serves the runner in the process `parent` until one of the two ends."""
    orphans.die_with_parent(parent)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv[:1])


if __name__ == "__main__":
    main(int(sys.argv[1]))

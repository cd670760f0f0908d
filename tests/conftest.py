"""What holds for every test."""

import logging


def pytest_configure() -> None:
    """Takes absl's log handler away, which mlcroissant brings, and gives our own logger its level.

    When closed, absl's closes what it took for stderr when it was made: here the file that pytest captures output in.
    """
    from absl import logging as absl_logging

    logging.getLogger().removeHandler(absl_logging.get_absl_handler())
    # a level of its own, as in every stage: Beam is kept quiet by the root's
    logging.getLogger("clipline").setLevel(logging.WARNING)

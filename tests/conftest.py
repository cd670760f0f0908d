"""What holds for every test."""

import logging


def pytest_configure() -> None:
    """Takes absl's log handler away, which mlcroissant brings.

    When closed, it closes what it took for stderr when it was made: here the file that pytest captures output in.
    """
    from absl import logging as absl_logging

    logging.getLogger().removeHandler(absl_logging.get_absl_handler())

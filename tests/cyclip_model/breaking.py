"""What conftest's broken_off is: a context in which training ends right after its first checkpoint."""

from collections.abc import Callable
from contextlib import AbstractContextManager

BrokenOff = Callable[[], AbstractContextManager[None]]

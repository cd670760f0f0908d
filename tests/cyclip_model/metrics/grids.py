"""Small whole numbers for property tests: their products are exact, so that equal scores are equal in any block."""

import numpy as np
from hypothesis import strategies as st

from cyclip_model.metrics.zeroshot import Floats

WIDTH = 3


@st.composite
def rows(draw: st.DrawFn, least: int = 1, most: int = 12) -> Floats:
    """(N, 3) float32 rows of whole numbers, many of them alike."""
    number = st.lists(st.integers(-2, 2), min_size=WIDTH, max_size=WIDTH)
    return np.array(draw(st.lists(number, min_size=least, max_size=most)), dtype=np.float32)

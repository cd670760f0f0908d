"""Published sets may hold more formats than ours."""

import pytest

from cyclip_model.sets import pictures
from tests.cyclip_model.sets import laying


def test_a_gif_is_read_where_it_may_be() -> None:
    content = laying.picture(1, "GIF")
    assert pictures.decode(content, 30, pictures.KNOWN_FORMATS).size == (6, 5)
    with pytest.raises(pictures.UndecodableError, match="undecodable"):
        pictures.decode(content, 30)

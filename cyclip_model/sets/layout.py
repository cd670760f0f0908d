"""The suite's own layout: a set of pictures with names, categories and parts of known and of held-out concepts."""

import pyarrow as pa

TRAIN = "train"
KNOWN = ("seen", "twemoji", "lineart")
"""Test parts whose concepts are trained on: other drawings of them."""
NOVEL = ("novel", "novel_twemoji", "novel_lineart")
"""Test parts whose concepts are held out."""
PARTS = (TRAIN, *KNOWN, *NOVEL)
_TEXT = pa.string()
SET_ROWS = pa.schema(
    [("uid", _TEXT), ("image", pa.binary())]
    + [(name, _TEXT) for name in ("vendor", "concept", "name", "caption", "subcategory", "category")]
)
"""What a set brings; subcategory and category may be empty: such a row takes part in no classification."""
ROWS = pa.schema([*SET_ROWS, ("width", pa.int64()), ("height", pa.int64())])

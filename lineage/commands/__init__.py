"""The questions of `python -m lineage`, one file each."""

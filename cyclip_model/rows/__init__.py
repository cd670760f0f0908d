"""Packed shards to batches: rows in memory, on a disk or read anew, augmented views of them."""

"""CLIP-family towers, objectives, training and evaluation on packed shards."""

"""From batches to trained weights: the loop, one step of it, ranks, checkpoints, and what watches over them."""

"""The data plane: from URL lists to WebDataset shards, on img2dataset and Apache Beam."""

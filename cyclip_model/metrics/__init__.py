"""Metrics as pure functions on arrays: embeddings, labels and groups in, numbers out.

Shape letters in every module here: N images (or pairs), M other rows, C classes, P prompts, S superclasses,
D embedding width, F feature width, K neighbours, Q queries, T items of a retrieval pool.
"""

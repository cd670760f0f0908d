"""Which pictures are alike: by perceptual hash, by thumbnail, by vector. Plain functions on arrays."""

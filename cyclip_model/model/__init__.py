"""The towers and what stands on them: built, saved, taken from others, and as one module that learns."""

"""The report as a folder of static pages: opened from file://, asking nothing of anyone."""

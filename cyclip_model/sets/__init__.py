"""Published evaluation sets in their own on-disk formats: one small loader for each family."""

"""The fold of stage select: rows as columns, verdicts as numbers, and what is told of them."""

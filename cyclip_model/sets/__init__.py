"""Evaluation sets in the forms they are handed out in, one module a family, and their one form here."""

"""Results of many models as tables, tests, plots and a page."""

"""Define the built-in problems: their data files, models, losses and budgets."""

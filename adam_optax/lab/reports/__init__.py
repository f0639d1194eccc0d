"""Report results as tables, figures, CSV files and pages of HTML."""

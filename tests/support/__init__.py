"""Share oracles, tables and helpers among the tests."""

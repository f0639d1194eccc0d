"""Test the site: its pages' code, links and coverage; the whole build and a browser are heavy."""

"""Tests of embedding rows."""

"""Runs on disk and in tables: a study's store, and other people's records."""

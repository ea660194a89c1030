"""Measurements of the deployed artefacts. docs/performance.md has the results."""

"""Measurements of what would be deployed. docs/performance.md has what came out."""

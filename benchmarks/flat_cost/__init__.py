"""Measures whether a request costs the same with a million connections as with a thousand, and its cost.

`python -m benchmarks.flat_cost` starts a local stack, fills tables of several sizes, runs the functions on each of
them in turn, and compares the consumed capacity that DynamoDB reports.
"""

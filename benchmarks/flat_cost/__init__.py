"""Whether a request costs the same with a million connections as with a thousand, and how much that is.

`python -m benchmarks.flat_cost` starts a local stack, fills tables of several sizes, lets the functions work on each of
them in turn, and compares what DynamoDB says that it consumed.
"""

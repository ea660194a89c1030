"""What was tried to make this quick, and what each brings: written into docs/performance.md by `make bench`."""

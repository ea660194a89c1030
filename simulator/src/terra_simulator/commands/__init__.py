"""The subcommands of `terra-simulator`, one a module: each adds its options to the parser, and runs."""

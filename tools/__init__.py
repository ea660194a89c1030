"""Setting up, building, deploying and checking a stack."""

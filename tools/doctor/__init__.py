"""Diagnoses a running stack and reports problems in plain words: `make doctor STAGE=prod`.

A stack on AWS is found through CloudFormation, a local one through its stack.json. The checks do not affect users: the
webhook delivered is a `healthcheck`, and the requested widget session expires at Terra after 15 minutes.
"""

"""Looks at a running stack and says in plain words what is wrong with it: `make doctor STAGE=prod`.

A stack on AWS is found by what CloudFormation says of it, a local one by its stack.json. Nobody is affected: the
webhook that is delivered is a `healthcheck`, and Terra forgets the widget session that is asked for after 15 minutes.
"""

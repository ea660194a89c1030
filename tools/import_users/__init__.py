"""`make import STAGE=...`: adopt connections that users have made at Terra before this stack existed."""

"""The whole stack on one laptop: an API gateway, the database, other AWS services, a Terra, a demo page."""

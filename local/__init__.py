"""The whole stack on one machine: API gateway, database, AWS services, Terra simulator, OIDC issuer, demo page."""

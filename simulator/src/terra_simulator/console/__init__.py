"""The page at `/`: `routes` (HTTP), `actions` (of its buttons), `query` (its address) and `view` (what it shows)."""

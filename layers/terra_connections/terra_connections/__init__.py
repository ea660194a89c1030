"""Connect people's wearables through Terra, and know who is connected."""

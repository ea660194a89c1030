"""Connect the wearables of an app's users through Terra, and know which users are connected."""

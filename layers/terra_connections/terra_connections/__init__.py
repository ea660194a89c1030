"""Connect the wearables of an app's users through Terra, and keep track of the connections."""

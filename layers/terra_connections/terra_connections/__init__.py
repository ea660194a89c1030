"""Connect people's wearables through Terra, and know who is connected."""

import gc

# Loading a function makes a few hundred thousand objects that stay, and a warm call some thousand that go by themselves:
# looking for cycles after every 2,000 (Python's default) finds none, and is a tenth of a start and of a call.
gc.set_threshold(20_000)

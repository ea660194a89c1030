"""Connect people's wearables through Terra, and know who is connected."""

import gc

# Loading makes a few hundred thousand objects that stay, a warm call some thousand that go by themselves: to look for
# cycles after every 2,000, as Python does, finds next to none and takes a tenth of either.
gc.set_threshold(20_000)

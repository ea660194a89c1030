"""Connect people's wearables through Terra, and know who is connected."""

import gc

# A function loads some 40,000 objects that stay. Python looks for cycles among them after every 2,000: a twentieth of a
# cold start, for nothing. Warm calls leave next to none, so that 100,000 of them are a few MB.
gc.set_threshold(100_000)

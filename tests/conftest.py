"""For every test: how properties are tried."""

from hypothesis import settings

# How long an example takes says more about the machine than about the code; benchmarks measure that.
settings.register_profile("timonel", deadline=None)
settings.load_profile("timonel")

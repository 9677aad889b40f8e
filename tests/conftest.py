"""What holds for every test."""

from hypothesis import settings

# A test says whether something holds, never how fast: machines are shared.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

"""How far properties are searched: the same examples in every run, unless asked for more.

`pytest --hypothesis-profile=search` looks at many more, others every time; what it finds, it prints
with the seed, and looks at again first.
"""

from hypothesis import HealthCheck, settings

settings.register_profile("same", derandomize=True, deadline=None, print_blob=True,
                          suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", settings.get_profile("same"), derandomize=False,
                          max_examples=5000)
settings.load_profile("same")

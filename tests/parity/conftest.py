"""One thread, as for every module whose networks are tiny."""

from threads import one_thread  # noqa: F401 - a fixture

"""The Django app, in a project that exists once for all of its tests."""

"""The whole server as a process, seen by stock clients."""

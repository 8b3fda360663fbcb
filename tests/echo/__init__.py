"""The echo server that the official protocol suites want."""

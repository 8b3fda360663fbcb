"""The byte-level half of the edge: stream, HTTP, listener, WebSocket."""

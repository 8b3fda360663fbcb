"""Bytes in, bytes out: listener, HTTP, Engine.IO sessions, WebSocket, authentication, routes."""

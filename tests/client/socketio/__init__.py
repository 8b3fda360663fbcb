"""Tests of the Socket.IO client."""

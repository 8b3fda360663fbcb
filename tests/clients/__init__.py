"""The stock Socket.IO clients, unmodified, as child processes, and the driver with which tests speak to them."""

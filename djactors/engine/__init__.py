"""An Engine.IO server for any Trio program: sessions, transports, heartbeat, admission, origins."""

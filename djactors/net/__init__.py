"""An HTTP/1.1 and WebSocket server on Trio streams: listener, connections, parser. It knows no Engine.IO."""

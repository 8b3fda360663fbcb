"""The Trio side of Engine.IO."""

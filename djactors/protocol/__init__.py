"""Engine.IO 4 and Socket.IO 5 without I/O: codecs and state machines that any event loop can drive."""

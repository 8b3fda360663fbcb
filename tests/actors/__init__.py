"""Router and user actors, under a clock that jumps, on a real store without threads."""

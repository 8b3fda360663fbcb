"""The actors: the router, the actor of each connected user, the clock, and retention."""

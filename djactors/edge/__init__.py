"""What djactors itself shows: routes, the gateway of sockets, authentication, rate limits, the page, the observer."""

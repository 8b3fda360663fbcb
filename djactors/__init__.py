"""djactors: real-time in-app notifications for DJ System, one Trio process, one durable inbox."""

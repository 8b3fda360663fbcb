"""The durable inbox: the rules on rows, and all SQL of the subject."""

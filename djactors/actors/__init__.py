"""Who acts: the router and the user actors."""

"""A studio that has jobs done."""

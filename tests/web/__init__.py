"""The page in a real browser: what people see and click, on a served process."""

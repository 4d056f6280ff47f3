"""Event source mappings: Lambda's pollers for queues and streams."""

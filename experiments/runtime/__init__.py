"""What a process needs before it trains."""

"""Who trades, and when: they see views and events, and answer with commands."""

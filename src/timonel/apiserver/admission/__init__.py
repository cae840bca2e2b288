"""What may be stored: one small plugin per concern, gathered in one ordered table (`plugins.py`)."""

"""Images: when to pull, with whose credentials, how many at once, and when to try again."""

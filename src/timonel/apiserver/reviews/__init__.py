"""Questions about who somebody is and what they may do, and the tokens that answer the first: never stored."""

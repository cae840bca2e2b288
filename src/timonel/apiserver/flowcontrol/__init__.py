"""API Priority and Fairness: which requests run now, which wait, which are refused."""

"""The policy and objects every cluster starts with, reconciled each time the server starts."""

"""May they: RBAC and the Node authoriser, and the escalation checks on what grants rights."""

"""Who is asking: client certificates, bearer tokens, anonymous, impersonation."""

"""The `timonel` command: thin, each subcommand calls one function of `timonel.cluster`."""

"""Container logs: `choice` says whose, `options` what of it, `lines` knows the format, `follow` the files."""

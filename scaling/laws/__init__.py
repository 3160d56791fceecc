"""One file a law, declarations only. Putting a file here is enough: the registry lists files."""

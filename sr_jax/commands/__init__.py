"""The command line: one command, one file. Each only parses, calls and prints."""

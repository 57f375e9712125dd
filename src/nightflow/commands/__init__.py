"""The commands, one group a file; `nightflow.cli` puts them together."""

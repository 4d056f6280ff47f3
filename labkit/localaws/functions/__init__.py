"""The Lambda control plane: functions, versions, aliases, layers, mappings and their rules."""

# Projects of their own, with their own settings, which the tests beside them run; our suite does not collect them.
collect_ignore = ["sample_project", "trust_project"]

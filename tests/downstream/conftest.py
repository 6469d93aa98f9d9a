# Separate projects with their own settings. The tests in this directory run them; our suite does not collect them.
collect_ignore = ["sample_project", "trust_project"]

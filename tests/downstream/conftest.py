# A project of its own, with its own settings: test_downstream.py runs it, our suite does not collect it.
collect_ignore = ["sample_project"]

"""What the API answers, as dataclasses; one file per resource."""

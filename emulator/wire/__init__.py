"""What each URL accepts and answers. One file per resource; `operations` lists what they serve."""

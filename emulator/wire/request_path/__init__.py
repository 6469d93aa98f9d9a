"""The handlers that a request passes, one file each. `wire/dispatch.py` lists them in the order in which they run;
`wire/front_door.py` is what comes before the first of them."""

"""The effects of faults: on responses (`http_effects.py`) and on WebSockets (`socket_effects.py`).

`control/fault_registry.py` decides which fault applies to a request. Every effect calls `Injection.trigger` at the
moment when it happens and nowhere else: a request that ends before that has not triggered its fault.
"""

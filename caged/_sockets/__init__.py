"""Everything over WebSockets: terminals, the output of a command while it runs, a sandbox's MCP server.

Nothing here is loaded before a socket is opened, and only `opening` and `channel` import websockets.
"""

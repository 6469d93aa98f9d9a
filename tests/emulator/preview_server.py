"""A server for previews, run inside a sandbox by a bare Python: `python3 preview_server.py PORT [ADDRESS]`."""

import base64
import hashlib
import json
import socket
import struct
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while True:
            size = int(self.rfile.readline(), 16)
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
            if not size:
                return b"".join(pieces)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def handle_any(self):
        if self.headers.get("Upgrade") == "websocket":
            return self.socket()
        path = self.path.partition("?")[0]
        if path == "/stream":  # a piece now, and the rest when the file `go` is there
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.chunk(b"first")
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    open("go").close()
                    break
                except OSError:
                    time.sleep(0.01)
            self.chunk(b"second")
            self.chunk(b"")
        elif path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
        elif path == "/big":
            self.answer(b"x" * 5_000_000)
        elif path == "/redirect":
            self.answer(b"", 302, Location=self.headers["X-To"])
        elif path == "/status":
            self.answer(b"teapot", 418, X_Odd="yes", Set_Cookie="a=b")
        else:
            headers = {name.title(): value for name, value in self.headers.items()}
            seen = {"method": self.command, "path": self.path, "headers": headers}
            seen["body"] = self.body().decode("latin-1")
            self.answer(json.dumps(seen).encode(), Content_Type="application/json")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_PURGE = handle_any

    # --- a WebSocket that echoes, closes on "bye", refuses at /no

    def socket(self):
        if self.path == "/no":
            return self.answer(b"not here", 404)
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        if self.headers.get("Sec-WebSocket-Protocol"):
            self.send_header("Sec-WebSocket-Protocol", self.headers["Sec-WebSocket-Protocol"].split(",")[0].strip())
        self.end_headers()
        self.frame(1, json.dumps([self.path, self.headers.get("Cookie", ""), self.headers["Host"]]).encode())
        while True:
            opcode, data = self.read_frame()
            if opcode == 8:
                with open("closed", "w") as closed:
                    closed.write(str(struct.unpack("!H", data[:2])[0]))
                self.frame(8, data[:2])
                break
            if data == b"bye":
                self.frame(8, struct.pack("!H", 4001) + b"so long")
                break
            self.frame(opcode, data)
        self.close_connection = True

    def frame(self, opcode, data):
        size = bytes([len(data)]) if len(data) < 126 else b"\x7f" + struct.pack("!Q", len(data))
        self.wfile.write(bytes([0x80 | opcode]) + size + data)
        self.wfile.flush()

    def read_frame(self):
        first, second = self.rfile.read(2)
        size = second & 127
        if size == 126:
            (size,) = struct.unpack("!H", self.rfile.read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self.rfile.read(8))
        mask = self.rfile.read(4)
        data = self.rfile.read(size)
        return first & 15, bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))


class Server(ThreadingHTTPServer):
    daemon_threads = True
    address_family = socket.AF_INET6 if ":" in (sys.argv[2:] or [""])[0] else socket.AF_INET


server = Server(((sys.argv[2:] or ["127.0.0.1"])[0], int(sys.argv[1])), Handler)
open("listening", "w").close()
server.serve_forever()

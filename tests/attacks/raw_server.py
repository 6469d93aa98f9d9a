"""A server for a sandbox whose path contains the exact bytes of the response: `python3 raw_server.py PORT`.

/raw/BASE64   these bytes (compressed by zlib), then the end of the connection
/hold/BASE64  these bytes, and the connection stays open
/seen         the request's head, as it arrived
/flood/PARTS  a WebSocket that sends PARTS: comma-separated `opcode:fin:announced:sent` frames
"""

import base64
import hashlib
import socket
import struct
import sys
import threading
import zlib

held = []


def head_of(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return b""
        data += piece
    return data


def accept(connection, head):
    lines = head.split(b"\r\n")
    key = next(line.split(b":", 1)[1].strip() for line in lines if line.lower().startswith(b"sec-websocket-key"))
    answer = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + answer
        + b"\r\n\r\n"
    )


def flood(connection, parts):
    for part in parts.split(","):
        opcode, fin, announced, sent = (int(number) for number in part.split(":"))
        connection.sendall(bytes([fin << 7 | opcode, 127]) + struct.pack("!Q", announced))
        piece = b"x" * (1 << 20)
        while sent > 0:
            connection.sendall(piece[:sent])
            sent -= len(piece)


def serve(connection):
    try:
        head = head_of(connection)
        _, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        _, kind, rest = (path.partition("?")[0] + "/").split("/", 2)
        rest = rest.rstrip("/")
        if kind == "flood":
            accept(connection, head)
            flood(connection, rest)
            held.append(connection)
        elif kind == "seen":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(head), head))
            connection.close()
        elif kind == "hold":
            connection.sendall(zlib.decompress(base64.urlsafe_b64decode(rest)))
            held.append(connection)
        else:
            connection.sendall(zlib.decompress(base64.urlsafe_b64decode(rest)))
            connection.shutdown(socket.SHUT_WR)
            connection.recv(65536)
            connection.close()
    except OSError:
        connection.close()


with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    open("listening", "w").close()
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

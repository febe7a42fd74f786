"""A unary gRPC call over a plain-text HTTP/2 connection, one at a time, with nothing but a socket.

The same few RPCs must be asked of both servers, outside the measured load and without a package to install. So this
knows only what that takes: header fields are sent as literals, and received header blocks are not decoded.
"""

import socket
import struct

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 4, 5
WINDOW = 1 << 24
"""Bytes that a response may have in flight to us."""


class CallFailed(Exception):
    pass


class Connection:
    def __init__(self, port: int, timeout_s: float = 5.0):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._authority = f"127.0.0.1:{port}"
        self._stream = -1
        self._frame_max = 16384
        self._stream_window_initial = self._stream_window = self._window = 65535
        settings = struct.pack(">HI", INITIAL_WINDOW_SIZE, WINDOW)
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0, settings)
                             + _frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW - 65535)))

    def close(self) -> None:
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def call(self, method: str, message: bytes) -> bytes:
        """Sends one message to inference.GRPCInferenceService/METHOD and returns the one that comes back."""
        try:
            return self._call(method, message)
        except (OSError, EOFError) as error:
            raise CallFailed(f"{method}: the connection to {self._authority} broke: {error}") from error

    def _call(self, method: str, message: bytes) -> bytes:
        self._stream += 2
        self._stream_window = self._stream_window_initial
        headers = {":method": "POST", ":scheme": "http", ":path": f"/inference.GRPCInferenceService/{method}",
                   ":authority": self._authority, "te": "trailers", "content-type": "application/grpc"}
        block = b"".join(_literal(name, value) for name, value in headers.items())
        self._socket.sendall(_frame(HEADERS, END_HEADERS, self._stream, block))
        self._send(method, struct.pack(">BI", 0, len(message)) + message)
        answer, ended = bytearray(), False
        while not ended:
            payload, ended = self._receive(method)
            answer += payload
        if len(answer) < 5:
            raise CallFailed(f"{method}: {self._authority} answered with an error instead of a message")
        return bytes(answer[5:])

    def _send(self, method: str, body: bytes) -> None:
        while body:
            size = min(len(body), self._frame_max, self._window, self._stream_window)
            if size <= 0:
                if self._receive(method)[1]:
                    raise CallFailed(f"{method}: {self._authority} refused the request before it was all sent")
                continue
            part, body = body[:size], body[size:]
            self._window -= size
            self._stream_window -= size
            self._socket.sendall(_frame(DATA, 0 if body else END_STREAM, self._stream, part))

    def _receive(self, method: str) -> tuple[bytes, bool]:
        """Handles one frame; the current stream's data, and whether that stream has ended."""
        head = self._read(9)
        kind, flags, stream = head[3], head[4], struct.unpack(">I", head[5:])[0] & 0x7FFFFFFF
        payload = self._read(int.from_bytes(head[:3], "big"))
        if kind == SETTINGS and not flags & ACK:
            self._settings(payload)
        elif kind == PING and not flags & ACK:
            self._socket.sendall(_frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            more = struct.unpack(">I", payload)[0] & 0x7FFFFFFF
            if stream == 0:
                self._window += more
            elif stream == self._stream:
                self._stream_window += more
        elif kind == GOAWAY or kind == RST_STREAM and stream == self._stream:
            raise CallFailed(f"{method}: {self._authority} broke off the call")
        elif kind == DATA and payload:
            self._socket.sendall(_frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload))))
            if flags & PADDED:
                payload = payload[1:len(payload) - payload[0]]
        if stream != self._stream or kind not in (DATA, HEADERS):
            return b"", False
        return payload if kind == DATA else b"", bool(flags & END_STREAM)

    def _settings(self, payload: bytes) -> None:
        for key, value in struct.iter_unpack(">HI", payload):
            if key == INITIAL_WINDOW_SIZE:
                self._stream_window += value - self._stream_window_initial
                self._stream_window_initial = value
            elif key == MAX_FRAME_SIZE:
                self._frame_max = value
        self._socket.sendall(_frame(SETTINGS, ACK, 0, b""))

    def _read(self, size: int) -> bytes:
        out = bytearray()
        while len(out) < size:
            part = self._socket.recv(size - len(out))
            if not part:
                raise EOFError("closed by the server")
            out += part
        return bytes(out)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: str, value: str) -> bytes:
    """An HPACK literal that is not indexed; both lengths must stay below 127."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()

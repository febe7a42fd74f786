"""As much of the protobuf wire format as a handful of messages needs."""

from collections.abc import Iterator


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(key: int, value: int) -> bytes:
    return varint(key << 3) + varint(value)


def field(key: int, payload: bytes) -> bytes:
    return varint(key << 3 | 2) + varint(len(payload)) + payload


def text(key: int, value: str) -> bytes:
    return field(key, value.encode())


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Every (field number, value): an int for a varint, else bytes."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        match tag & 7:
            case 0:
                value, at = _read_varint(message, at)
            case 1:
                value, at = message[at:at + 8], at + 8
            case 2:
                size, at = _read_varint(message, at)
                value, at = message[at:at + size], at + size
            case 5:
                value, at = message[at:at + 4], at + 4
            case wire:
                raise ValueError(f"protobuf wire type {wire} at byte {at}")
        yield tag >> 3, value


def last(message: bytes, key: int, default):
    """The last value of a field, as protobuf has it for one that is not repeated."""
    found = default
    for number_, value in fields(message):
        if number_ == key:
            found = value
    return found


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at

"""An activity as a FIT file, for environments whose output it is: binary, and without Terra's user.

Terra's documentation says that only activities have this format. The file is as Garmin's FIT protocol describes it
(https://developer.garmin.com/fit/protocol/): a header, a `file_id`, `record`s of the heart rate, a `session`, a CRC.
"""

import struct
from datetime import datetime
from typing import Any, Final

from terra_simulator.data.day import Record

_EPOCH: Final = 631_065_600
"""FIT's time begins with 1990, in unix seconds."""
_NIBBLES: Final = (
    *(0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401),
    *(0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400),
)
_ENUM, _UINT8, _UINT16, _UINT32, _UINT32Z = 0x00, 0x02, 0x84, 0x86, 0x8C
_SIZES: Final = {_ENUM: 1, _UINT8: 1, _UINT16: 2, _UINT32: 4, _UINT32Z: 4}
_LETTERS: Final = {_ENUM: "B", _UINT8: "B", _UINT16: "H", _UINT32: "I", _UINT32Z: "I"}

_FILE_ID: Final = (0, ((0, _ENUM), (1, _UINT16), (2, _UINT16), (3, _UINT32Z), (4, _UINT32)))
_RECORD: Final = (20, ((253, _UINT32), (3, _UINT8)))
_SESSION: Final = (18, ((253, _UINT32), (2, _UINT32), (7, _UINT32), (9, _UINT32), (5, _ENUM)))
_DEVELOPMENT, _RUNNING = 255, 1


def as_fit(activity: Record) -> bytes:
    """Return the FIT file of a record of `activity`."""
    start, end = (_seconds(activity["metadata"][name]) for name in ("start_time", "end_time"))
    heart_rate: Any = activity["heart_rate_data"]
    beats = heart_rate.get("detailed", {}).get("hr_samples") or [
        {"timestamp": activity["metadata"]["start_time"], "bpm": heart_rate["summary"]["avg_hr_bpm"]}
    ]
    metres = activity["distance_data"]["summary"]["distance_meters"]
    content = _definition(0, _FILE_ID) + _message(0, _FILE_ID, 4, _DEVELOPMENT, 0, 1, start)
    content += _definition(1, _RECORD)
    content += b"".join(_message(1, _RECORD, _seconds(each["timestamp"]), each["bpm"]) for each in beats)
    content += _definition(2, _SESSION)
    content += _message(2, _SESSION, end, start, (end - start) * 1000, round(metres * 100), _RUNNING)
    header = struct.pack("<BBHI4s", 14, 0x10, 2132, len(content), b".FIT")
    header += struct.pack("<H", crc(header))
    return header + content + struct.pack("<H", crc(header + content))


def crc(data: bytes) -> int:
    """Return FIT's checksum; that of a file with its checksum is 0."""
    value = 0
    for byte in data:
        for nibble in (byte & 0xF, byte >> 4):
            value = (value >> 4) & 0x0FFF ^ _NIBBLES[value & 0xF] ^ _NIBBLES[nibble]
    return value


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) - _EPOCH


_Kind = tuple[int, tuple[tuple[int, int], ...]]


def _definition(local: int, kind: _Kind) -> bytes:
    number, fields = kind
    listed = b"".join(struct.pack("BBB", field, _SIZES[base], base) for field, base in fields)
    return struct.pack("<BBBHB", 0x40 | local, 0, 0, number, len(fields)) + listed


def _message(local: int, kind: _Kind, *values: int) -> bytes:
    return struct.pack(f"<B{''.join(_LETTERS[base] for _, base in kind[1])}", local, *values)

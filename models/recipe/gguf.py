"""GGUF files: read and write the few types the recipe needs (F32, F16, Q8_0)."""

import struct
from typing import Any, BinaryIO, NamedTuple

import numpy as np

F32, F16, Q8_0 = 0, 1, 8
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = 4, 5, 6, 7, 8, 9, 10, 11, 12
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<?",
           UINT64: "<Q", INT64: "<q", FLOAT64: "<d"}
ALIGN = 32


class Value(NamedTuple):
    """A metadata value. For arrays, `element` is the type of the elements."""
    type: int
    data: Any
    element: int = 0


def read_scalar(file: BinaryIO, form: str) -> Any:
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def read_value(file: BinaryIO, kind: int) -> Value:
    if kind == STRING:
        return Value(kind, file.read(read_scalar(file, "<Q")).decode())
    if kind == ARRAY:
        element, count = read_scalar(file, "<I"), read_scalar(file, "<Q")
        return Value(kind, [read_value(file, element).data for _ in range(count)], element)
    if kind not in SCALARS:
        raise ValueError(f"metadata type {kind} is unknown")
    return Value(kind, read_scalar(file, SCALARS[kind]))


def decode(raw: bytes, kind: int, shape: tuple[int, ...]) -> np.ndarray:
    """Tensor bytes to float32 [rows][columns], rows first as in PyTorch."""
    if kind == F32:
        return np.frombuffer(raw, "<f4").reshape(shape).copy()
    if kind == F16:
        return np.frombuffer(raw, "<f2").reshape(shape).astype(np.float32)
    block = np.frombuffer(raw, np.dtype([("scale", "<f2"), ("code", "i1", 32)]))
    return (block["scale"].astype(np.float32)[:, None] * block["code"]).reshape(shape)


def encode(x: np.ndarray, kind: int) -> bytes:
    """The inverse of decode; Q8_0 rounds to nearest, halves away from zero."""
    if kind != Q8_0:
        return x.astype("<f4" if kind == F32 else "<f2").tobytes()
    rows = x.astype(np.float32).reshape(-1, 32)
    scale = np.abs(rows).max(1) / np.float32(127)
    ratio = rows * np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)[:, None]
    block = np.empty(len(rows), np.dtype([("scale", "<f2"), ("code", "i1", 32)]))
    block["scale"] = scale
    block["code"] = np.trunc(ratio + np.copysign(np.float32(0.5), ratio))
    return block.tobytes()


def tensor_size(kind: int, shape: tuple[int, ...]) -> int:
    if kind not in (F32, F16, Q8_0):
        raise ValueError(f"tensor type {kind}: the recipe reads F32, F16 and Q8_0 only")
    count = int(np.prod(shape))
    return {F32: count * 4, F16: count * 2, Q8_0: count // 32 * 34}[kind]


def read(path: str) -> tuple[dict[str, Value], dict[str, np.ndarray]]:
    """Metadata and tensors (float32) of a file, both in file order."""
    with open(path, "rb") as file:
        if file.read(4) != b"GGUF" or read_scalar(file, "<I") != 3:
            raise ValueError(f"{path}: not a GGUF file of version 3")
        n_tensor, n_key = read_scalar(file, "<Q"), read_scalar(file, "<Q")
        meta = {}
        for _ in range(n_key):
            name = read_value(file, STRING).data
            meta[name] = read_value(file, read_scalar(file, "<I"))
        infos = []
        for _ in range(n_tensor):
            name = read_value(file, STRING).data
            dims = [read_scalar(file, "<Q") for _ in range(read_scalar(file, "<I"))]
            infos.append((name, tuple(reversed(dims)), read_scalar(file, "<I"), read_scalar(file, "<Q")))
        start = (file.tell() + ALIGN - 1) // ALIGN * ALIGN
        tensors = {}
        for name, shape, kind, offset in infos:
            file.seek(start + offset)
            tensors[name] = decode(file.read(tensor_size(kind, shape)), kind, shape)
    return meta, tensors


def pack_string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def pack_value(value: Value) -> bytes:
    if value.type == STRING:
        return pack_string(value.data)
    if value.type == ARRAY:
        items = b"".join(pack_value(Value(value.element, x)) for x in value.data)
        return struct.pack("<IQ", value.element, len(value.data)) + items
    return struct.pack(SCALARS[value.type], value.data)


def padded(raw: bytes) -> bytes:
    return raw + b"\0" * (-len(raw) % ALIGN)


def write(path: str, meta: dict[str, Value], tensors: dict[str, tuple[np.ndarray, int]]) -> None:
    """Writes metadata and tensors; each tensor comes with the type it is stored in."""
    head = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(meta))]
    head += [pack_string(name) + struct.pack("<I", v.type) + pack_value(v) for name, v in meta.items()]
    body, offset = [], 0
    for name, (x, kind) in tensors.items():
        dims = b"".join(struct.pack("<Q", n) for n in reversed(x.shape))
        head.append(pack_string(name) + struct.pack("<I", x.ndim) + dims + struct.pack("<IQ", kind, offset))
        body.append(padded(encode(x, kind)))
        offset += len(body[-1])
    with open(path, "wb") as file:
        file.write(padded(b"".join(head)) + b"".join(body))

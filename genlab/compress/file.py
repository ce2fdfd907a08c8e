"""A small file of a network that loads again bit for bit; Deep Compression, Han et al. 2016, arXiv:1510.00149.

Tensors of few values are stored as a table of values and Huffman-coded indices; where most are zero, the gaps between
the others are coded beside them (section 2, figure 2); all else is stored as it is. Per tensor the smallest way is
taken.

    b"genlab", format (1 byte), SHA-256 of the rest (32 bytes), length of the head (4 bytes), head, payload

The head is JSON under zlib: what the file is about, and for every tensor its name, kind, shape and the length of its
parts.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genlab.checkpoint import write_atomically
from genlab.compress import huffman

MAGIC, FORMAT = b"genlab", 1
MOST = 256  # values that a table may have
GAP = 255  # a longer run of zeros is cut: this symbol means so many zeros and no value
KINDS = {"torch.float32": torch.float32, "torch.int64": torch.int64, "torch.bool": torch.bool}


class FileError(ValueError):
    """A compressed file is damaged, of another version, or does not fit."""


def save(state: Mapping[str, Tensor], path: str | Path, about: Any = None) -> int:
    """Writes tensors (a state_dict, hardened) and `about` (plain values); returns the size in bytes."""
    rows, payload = [], b""
    for name, tensor in state.items():
        if str(tensor.dtype) not in KINDS:
            raise FileError(f"{name!r} is {tensor.dtype}; a file holds {', '.join(KINDS)}")
        kind, parts, more = smallest(tensor.detach().cpu())
        rows.append([name, kind, str(tensor.dtype), list(tensor.shape), [len(part) for part in parts], more])
        payload += b"".join(parts)
    head = zlib.compress(json.dumps([about, rows], separators=(",", ":")).encode(), 9)
    body = len(head).to_bytes(4, "big") + head + payload
    content = MAGIC + bytes([FORMAT]) + hashlib.sha256(body).digest() + body
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(Path(path), content)
    return len(content)


def load(path: str | Path) -> tuple[dict[str, Tensor], Any]:
    """The tensors and what the file is about.

    Raises:
        FileError: it is no such file, of an unknown format, or a single bit of it has changed.
    """
    content = Path(path).read_bytes()
    start = len(MAGIC) + 1
    if content[: len(MAGIC)] != MAGIC:
        raise FileError(f"{path} is not a compressed network of genlab")
    if content[start - 1 : start] != bytes([FORMAT]):
        raise FileError(f"{path} has format {content[start - 1 : start].hex() or 'none'}, this version reads {FORMAT}")
    body = content[start + 32 :]
    if hashlib.sha256(body).digest() != content[start : start + 32]:
        raise FileError(f"{path} is damaged: its checksum does not fit")
    size = int.from_bytes(body[:4], "big")
    about, rows = json.loads(zlib.decompress(body[4 : 4 + size]))
    state, at = {}, 4 + size
    for name, kind, dtype, shape, sizes, more in rows:
        parts = []
        for size in sizes:
            parts.append(body[at : at + size])
            at += size
        state[name] = WAYS[kind][1](parts, more, KINDS[dtype]).view(shape)
    return state, about


def smallest(tensor: Tensor) -> tuple[str, list[bytes], Any]:
    """The shortest way to write a tensor: its kind, its parts, and what the head must say of them."""
    ways = []
    for kind, (write, _) in WAYS.items():
        if (written := write(tensor)) is not None:
            parts, more = written
            ways.append((sum(map(len, parts)) + len(json.dumps(more)), kind, parts, more))
    _, kind, parts, more = min(ways, key=lambda way: way[0])
    return kind, parts, more


def write_plain(tensor: Tensor) -> tuple[list[bytes], Any]:
    return [tensor.contiguous().numpy().tobytes()], None


def read_plain(parts: list[bytes], more: Any, dtype: torch.dtype) -> Tensor:
    return torch.frombuffer(bytearray(parts[0]), dtype=dtype) if parts[0] else torch.empty(0, dtype=dtype)


def write_table(tensor: Tensor) -> tuple[list[bytes], Any] | None:
    """The values, and the Huffman-coded index of every element."""
    if not tensor.is_floating_point() or not tensor.numel():
        return None
    values, index = np.unique(bits_of(tensor), return_inverse=True)
    if len(values) > MOST:
        return None
    coded, sizes = coded_with(index.ravel(), len(values))
    return [values.tobytes(), sizes, coded], tensor.numel()


def read_table(parts: list[bytes], more: Any, dtype: torch.dtype) -> Tensor:
    values = np.frombuffer(parts[0], dtype=np.uint32)
    return torch.from_numpy(values[huffman.decode(parts[2], list(parts[1]), more)].view(np.float32).copy())


def write_sparse(tensor: Tensor) -> tuple[list[bytes], Any] | None:
    """The table and the Huffman-coded index of the values other than zero, and where they stand."""
    if not tensor.is_floating_point() or not (flat := bits_of(tensor)).any():
        return None
    values, index = np.unique(flat[flat != 0], return_inverse=True)
    if len(values) > MOST:
        return None
    coded, sizes = coded_with(index.ravel(), len(values))
    parts, more = write_gaps(flat)
    return [values.tobytes(), sizes, coded, *parts], more


def read_sparse(parts: list[bytes], more: Any, dtype: torch.dtype) -> Tensor:
    flat, where = read_gaps(parts[3:], more)
    flat[where] = np.frombuffer(parts[0], dtype=np.uint32)[huffman.decode(parts[2], list(parts[1]), len(where))]
    return torch.from_numpy(flat.view(np.float32))


def write_spaced(tensor: Tensor) -> tuple[list[bytes], Any] | None:
    """The values other than zero as they are, and where they stand."""
    if not tensor.is_floating_point() or not (flat := bits_of(tensor)).any():
        return None
    parts, more = write_gaps(flat)
    return [flat[flat != 0].tobytes(), *parts], more


def read_spaced(parts: list[bytes], more: Any, dtype: torch.dtype) -> Tensor:
    flat, where = read_gaps(parts[1:], more)
    flat[where] = np.frombuffer(parts[0], dtype=np.uint32)
    return torch.from_numpy(flat.view(np.float32))


def write_gaps(flat: Any) -> tuple[list[bytes], Any]:
    """Where `flat` is not zero: the Huffman-coded number of zeros before each such place."""
    (where,) = flat.nonzero()
    gaps = np.diff(where, prepend=-1) - 1
    runs = np.full(int((gaps // GAP + 1).sum()), GAP)
    runs[np.cumsum(gaps // GAP + 1) - 1] = gaps % GAP
    coded, sizes = coded_with(runs, GAP + 1)
    return [zlib.compress(sizes, 9), coded], [len(flat), len(runs)]


def read_gaps(parts: list[bytes], more: Any) -> tuple[Any, Any]:
    """Zeros as long as what was written, and the places that were not."""
    n, runs = more
    gaps = huffman.decode(parts[1], list(zlib.decompress(parts[0])), runs)
    ends = np.cumsum(np.where(gaps == GAP, GAP, gaps + 1)) - 1  # a run without value ends on a zero
    return np.zeros(n, dtype=np.uint32), ends[gaps != GAP]


def bits_of(tensor: Tensor) -> Any:
    """float32 as the integers of the same bits: -0.0 and NaN come back as they were."""
    return tensor.contiguous().flatten().numpy().view(np.uint32)


def coded_with(symbols: Any, kinds: int) -> tuple[bytes, bytes]:
    """The coded symbols, and the lengths of the codes, a byte each."""
    sizes = huffman.lengths(np.bincount(symbols, minlength=kinds))
    return huffman.encode(symbols, sizes), bytes(sizes)


WAYS = {
    "plain": (write_plain, read_plain),
    "table": (write_table, read_table),
    "sparse": (write_sparse, read_sparse),
    "spaced": (write_spaced, read_spaced),
}

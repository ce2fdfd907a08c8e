"""Lossless compressed files of network weights; Deep Compression, Han et al. 2016, arXiv:1510.00149.

Tensors with few distinct values are stored as a table of values and Huffman-coded indices; sparse tensors also with
Huffman-coded gaps between non-zero values (section 2, figure 2); others uncompressed. The smallest encoding is chosen
per tensor.

    b"genlab", format (1 byte), SHA-256 of the rest (32 bytes), length of the head (4 bytes), head, payload

The head is zlib-compressed JSON: the metadata `about`, and for every tensor its name, encoding, dtype, shape, the
lengths of its parts and parameters of its encoding. Files are untrusted: every number is checked against the length of
the file before memory is allocated. A byte of a file holds at most 8 codes, and a code of a gap stands for at most GAP
zeros.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genlab.compress import huffman
from genlab.core.files import write_atomically

MAGIC, FORMAT = b"genlab", 1
HEAD = 1 << 22  # bytes of an unpacked head
DIMENSIONS = 64
MOST = 256  # maximal number of values in a table
GAP = 255  # longer runs of zeros are split: this symbol means GAP zeros without a value
KINDS = {"torch.float32": torch.float32, "torch.int64": torch.int64, "torch.bool": torch.bool}


class CompressedFileError(ValueError):
    """A compressed file is damaged, of another version, or invalid; or a tensor cannot be stored."""


def save(state: Mapping[str, Tensor], path: str | Path, about: Any = None) -> int:
    """Writes tensors (a state_dict without parametrisations) and `about` (JSON values); returns the size in bytes.

    Raises:
        CompressedFileError: a tensor is not float32, int64 or bool, or the head is too large.
    """
    rows, payload = [], b""
    for name, tensor in state.items():
        if str(tensor.dtype) not in KINDS:
            raise CompressedFileError(f"{name!r} is {tensor.dtype}; a file holds {', '.join(KINDS)}")
        kind, parts, more = smallest(tensor.detach().cpu())
        rows.append([name, kind, str(tensor.dtype), list(tensor.shape), [len(part) for part in parts], more])
        payload += b"".join(parts)
    plain = json.dumps([about, rows], separators=(",", ":")).encode()
    if len(plain) > HEAD:
        raise CompressedFileError(f"what {path} is about and the names of its tensors take more than {HEAD} bytes")
    head = zlib.compress(plain, 9)
    body = len(head).to_bytes(4, "big") + head + payload
    content = MAGIC + bytes([FORMAT]) + hashlib.sha256(body).digest() + body
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(Path(path), content)
    return len(content)


def load(path: str | Path) -> tuple[dict[str, Tensor], Any]:
    """The tensors and `about`.

    Raises:
        CompressedFileError: it is not such a file, of an unknown format, damaged (by SHA-256), or invalid.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise CompressedFileError(f"{path} is not a file")
    content = Path(path).read_bytes()
    start = len(MAGIC) + 1
    if content[: len(MAGIC)] != MAGIC:
        raise CompressedFileError(f"{path} is not a compressed network of genlab")
    if content[start - 1 : start] != bytes([FORMAT]):
        raise CompressedFileError(
            f"{path} has format {content[start - 1 : start].hex() or 'none'}, this version reads {FORMAT}"
        )
    body = content[start + 32 :]
    if hashlib.sha256(body).digest() != content[start : start + 32]:
        raise CompressedFileError(f"{path} is damaged: its checksum does not fit")
    try:
        return parse(body)
    except (ValueError, RecursionError) as error:  # JSON nested too deep
        raise CompressedFileError(f"{path} is not as genlab writes it: {str(error)[:200]}") from None
    except MemoryError:
        raise CompressedFileError(f"{path} holds more than fits into memory") from None


def parse(body: bytes) -> tuple[dict[str, Tensor], Any]:
    """Parses the part of a file after the checksum.

    Raises:
        ValueError: a number in the head is inconsistent with others or with the length of the file.
    """
    size = int.from_bytes(body[:4], "big")
    payload = memoryview(body)[4 + size :]
    need(4 + size <= len(body), "its head ends behind the file")
    head = json.loads(inflated(body[4 : 4 + size], HEAD).decode())
    need(isinstance(head, list) and len(head) == 2 and isinstance(head[1], list), "its head is no list of tensors")
    state: dict[str, Tensor] = {}
    at = elements = 0
    for row in head[1]:
        need(isinstance(row, list) and len(row) == 6, "a tensor is not described by six fields")
        name, kind, dtype, shape, sizes, more = row
        need(isinstance(name, str) and name not in state, "a tensor has no name, or that of another")
        need(isinstance(kind, str) and kind in WAYS, f"{name!r} is stored in an unknown way")
        need(isinstance(dtype, str) and dtype in KINDS, f"{name!r} has an unknown type")
        need(counts(shape) and len(shape) <= DIMENSIONS, f"{name!r} has no shape")
        need(math.prod(max(1, side) for side in shape) < 2**62, f"{name!r} is too large")
        need(counts(sizes), f"{name!r} has parts without a length")
        ends = list(accumulate(sizes, initial=at))
        need(ends[-1] <= len(payload), f"{name!r} ends behind the file")
        n = math.prod(shape)
        elements += n
        need(elements <= 8 * GAP * len(body), f"{name!r} has more elements than the file can hold")
        parts = [bytes(payload[a:b]) for a, b in pairwise(ends)]
        state[name] = WAYS[kind][1](parts, more, KINDS[dtype], n).view(shape)
        at = ends[-1]
    need(at == len(payload), "there are bytes behind the last tensor")
    return state, head[0]


def need(fits: bool, otherwise: str) -> None:
    if not fits:
        raise ValueError(otherwise)


def counts(values: Any) -> bool:
    """Whether `values` is a list of integers from 0."""
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def inflated(packed: bytes, most: int) -> bytes:
    """Decompresses `packed` (zlib) to at most `most` bytes."""
    try:
        unpacker = zlib.decompressobj()
        found = unpacker.decompress(packed, most)
    except zlib.error as error:
        raise ValueError(f"zlib: {error}") from None
    need(unpacker.eof and not unpacker.unused_data, f"a packed part is cut short, or longer than {most} bytes")
    return found


def smallest(tensor: Tensor) -> tuple[str, list[bytes], Any]:
    """The smallest encoding of a tensor: its name, its parts, and its parameters for the head."""
    ways = []
    for kind, (write, _) in WAYS.items():
        if (written := write(tensor)) is not None:
            parts, more = written
            ways.append((sum(map(len, parts)) + len(json.dumps(more)), kind, parts, more))
    _, kind, parts, more = min(ways, key=lambda way: way[0])
    return kind, parts, more


def write_plain(tensor: Tensor) -> tuple[list[bytes], Any]:
    return [tensor.contiguous().numpy().tobytes()], None


def read_plain(parts: list[bytes], more: Any, dtype: torch.dtype, n: int) -> Tensor:
    need(len(parts) == 1 and len(parts[0]) == n * dtype.itemsize, "a plain tensor has not the bytes of its shape")
    need(dtype != torch.bool or parts[0].count(0) + parts[0].count(1) == n, "a bool is neither 0 nor 1")
    return torch.frombuffer(bytearray(parts[0]), dtype=dtype) if parts[0] else torch.empty(0, dtype=dtype)


def write_table(tensor: Tensor) -> tuple[list[bytes], Any] | None:
    """The distinct values, and the Huffman-coded index of every element."""
    if not tensor.is_floating_point() or not tensor.numel():
        return None
    values, index = np.unique(bits_of(tensor), return_inverse=True)
    if len(values) > MOST:
        return None
    coded, sizes = coded_with(index.ravel(), len(values))
    return [values.tobytes(), sizes, coded], tensor.numel()


def read_table(parts: list[bytes], more: Any, dtype: torch.dtype, n: int) -> Tensor:
    need(len(parts) == 3 and dtype == torch.float32 and more == n, "a table does not fit its tensor")
    return torch.from_numpy(looked_up(parts, n).view(np.float32))


def looked_up(parts: list[bytes], n: int) -> Any:
    """n values, from a table, the code lengths of its rows, and the coded indices."""
    values = words(parts[0])
    need(len(values) == len(parts[1]) <= MOST, "a table has not as many values as codes")
    return values[huffman.decode(parts[2], list(parts[1]), n)]


def words(part: bytes) -> Any:
    """The bits of float32 values."""
    need(len(part) % 4 == 0, "values of 4 bytes are cut short")
    return np.frombuffer(part, dtype=np.uint32)


def write_sparse(tensor: Tensor) -> tuple[list[bytes], Any] | None:
    """The table and Huffman-coded indices of the non-zero values, and their positions."""
    if not tensor.is_floating_point() or not (flat := bits_of(tensor)).any():
        return None
    values, index = np.unique(flat[flat != 0], return_inverse=True)
    if len(values) > MOST:
        return None
    coded, sizes = coded_with(index.ravel(), len(values))
    parts, more = write_gaps(flat)
    return [values.tobytes(), sizes, coded, *parts], more


def read_sparse(parts: list[bytes], more: Any, dtype: torch.dtype, n: int) -> Tensor:
    need(len(parts) == 5 and dtype == torch.float32, "a sparse tensor has not its five parts")
    where = read_gaps(parts[3:], more, n)
    return spread(looked_up(parts[:3], len(where)), where, n)


def spread(values: Any, where: Any, n: int) -> Tensor:
    """n zeros, with `values` at the positions `where`."""
    flat = np.zeros(n, dtype=np.uint32)
    flat[where] = values
    return torch.from_numpy(flat.view(np.float32))


def write_spaced(tensor: Tensor) -> tuple[list[bytes], Any] | None:
    """The non-zero values, uncompressed, and their positions."""
    if not tensor.is_floating_point() or not (flat := bits_of(tensor)).any():
        return None
    parts, more = write_gaps(flat)
    return [flat[flat != 0].tobytes(), *parts], more


def read_spaced(parts: list[bytes], more: Any, dtype: torch.dtype, n: int) -> Tensor:
    need(len(parts) == 3 and dtype == torch.float32, "a spaced tensor has not its three parts")
    where, values = read_gaps(parts[1:], more, n), words(parts[0])
    need(len(where) == len(values), "there are not as many values as places")
    return spread(values, where, n)


def write_gaps(flat: Any) -> tuple[list[bytes], Any]:
    """The positions of non-zero values: the Huffman-coded number of zeros before each, and trailing zeros in runs of
    GAP."""
    (where,) = flat.nonzero()
    gaps = np.diff(where, prepend=-1) - 1
    ends = np.cumsum(gaps // GAP + 1)
    runs = np.full(int(ends[-1]) + (len(flat) - 1 - int(where[-1])) // GAP, GAP)
    runs[ends - 1] = gaps % GAP
    coded, sizes = coded_with(runs, GAP + 1)
    return [zlib.compress(sizes, 9), coded], [len(flat), len(runs)]


def read_gaps(parts: list[bytes], more: Any, n: int) -> Any:
    """The sorted positions of non-zero values among n."""
    need(counts(more) and len(more) == 2 and more[0] == n, "the length of a tensor is not that of its shape")
    sizes = inflated(parts[0], GAP + 1)
    need(len(sizes) == GAP + 1, "there is not a code for every gap")
    gaps = huffman.decode(parts[1], list(sizes), more[1])
    ends = np.cumsum(np.where(gaps == GAP, GAP, gaps + 1))  # a run of GAP has no value
    need(len(ends) == 0 or ends[-1] <= n, "gaps lead out of their tensor")
    return (ends - 1)[gaps != GAP]


def bits_of(tensor: Tensor) -> Any:
    """float32 values as integers of the same bits, to preserve -0.0 and NaN."""
    return tensor.contiguous().flatten().numpy().view(np.uint32)


def coded_with(symbols: Any, kinds: int) -> tuple[bytes, bytes]:
    """The Huffman-coded symbols, and the code lengths, one byte each."""
    sizes = huffman.lengths(np.bincount(symbols, minlength=kinds))
    return huffman.encode(symbols, sizes), bytes(sizes)


WAYS = {
    "plain": (write_plain, read_plain),
    "table": (write_table, read_table),
    "sparse": (write_sparse, read_sparse),
    "spaced": (write_spaced, read_spaced),
}

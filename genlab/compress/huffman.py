"""Canonical Huffman codes (Huffman 1952), determined by the code lengths alone."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

Symbols = NDArray[np.int64]


def lengths(counts: Symbols) -> list[int]:
    """Symbol counts -> code lengths in bits; 0 for symbols that do not occur."""
    heap: list[tuple[int, int, tuple[int, ...]]] = [(int(count), i, (i,)) for i, count in enumerate(counts) if count]
    found = [0] * len(counts)
    if len(heap) == 1:
        found[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        (a, i, left), (b, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in left + right:
            found[symbol] += 1
        heapq.heappush(heap, (a + b, i, left + right))
    return found


def codes(sizes: list[int]) -> list[int]:
    """The canonical code of every symbol: shorter codes first, codes of equal length in the order of the symbols."""
    found, code, last = [0] * len(sizes), 0, 0
    for size, symbol in sorted((size, symbol) for symbol, size in enumerate(sizes) if size):
        code <<= size - last
        found[symbol], code, last = code, code + 1, size
    return found


def encode(symbols: Symbols, sizes: list[int]) -> bytes:
    """The concatenated codes of the symbols, padded to bytes."""
    size, code = np.array(sizes)[symbols], np.array(codes(sizes))[symbols]
    ends = np.cumsum(size)
    bits = np.zeros(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
    for bit in range(int(size.max(initial=0))):
        there = size > bit
        bits[(ends - size)[there] + bit] = code[there] >> (size[there] - 1 - bit) & 1
    return np.packbits(bits).tobytes()


def decode(coded: bytes, sizes: list[int], n: int) -> Symbols:
    """The first `n` symbols.

    Raises:
        ValueError: `sizes` are not those of a prefix code, or the bits end too early or are not codes.
    """
    longest = max(sizes, default=0)
    if sum(1 << (longest - size) for size in sizes if size) > 1 << longest:  # Kraft's inequality
        raise ValueError("lengths that no prefix code has")
    if n > 8 * len(coded):
        raise ValueError(f"{n} symbols were announced, {len(coded)} bytes cannot hold them")
    known = {(size, code): symbol for symbol, (size, code) in enumerate(zip(sizes, codes(sizes))) if size}
    found, size, code = [], 0, 0
    for bit in np.unpackbits(np.frombuffer(coded, dtype=np.uint8)).tolist() if n else []:
        size, code = size + 1, code << 1 | bit
        symbol = known.get((size, code))
        if symbol is not None:
            found.append(symbol)
            size = code = 0
            if len(found) == n:
                break
        elif size >= longest:
            raise ValueError("bits that are not a code")
    if len(found) < n:
        raise ValueError(f"{n} symbols were announced, the bits hold {len(found)}")
    return np.array(found, dtype=np.int64)

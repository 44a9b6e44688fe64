"""How much of anything data may be: every limit on files that others made, with its reason.

A limit is far above what a network for a small chip is fitted with, and far below what stops a machine. Whoever meets
one is told the number and the way out.
"""

from __future__ import annotations

PIXELS = 2**26
"""Pixels of one picture (67 million, 8192 x 8192): read from the header, before decoding.

Decoded in colour these take 200 MB, once. A file of 20 KB can claim twice as many and more.
"""

FILE_BYTES = 2**28
"""Bytes of one picture's file (268 MB): what `PIXELS` in uncompressed colour with alpha take."""

FILES = 2_000_000
"""Files below a folder or in a zip, and rows that a loader gives: ImageNet has 1.3 million."""

ARCHIVE_RATIO = 100
"""What a zip unpacks to, as a multiple of its size, beyond `ARCHIVE_FREE`.

Pictures are compressed already and unpack to about their own size; bitmaps of masks reach some tens; a bomb of zeros
has 1,000 and more.
"""

ARCHIVE_FREE = 2**30
"""Bytes that a zip may unpack to whatever its own size is (1 GiB)."""

IN_MEMORY = 2**29
"""Bytes of decoded inputs of one part that are held in memory (512 MiB); more are kept in a file and read by need."""

SET_BYTES = 16_000_000_000
"""Bytes of decoded inputs in all: 106,000 colour pictures of 224 x 224. An epoch reads all of them."""

FREE_BYTES = 2**30
"""Bytes that stay free on the disk that decoded inputs are kept on (1 GiB)."""

CLASSES = 100_000
"""Classes, hence the largest label + 1: ImageNet-21k has 21,841. A network has an output for each."""

TOKENS = 2**24
"""Numbers of tokens: float32, in which values travel between networks and runtimes, holds whole ones up to here."""

LOADER_SECONDS = 1800.0
"""Seconds that one part of a loader may take to be walked, looked at between two batches: an endless one is told."""

EMPTY_BATCHES = 10_000
"""Batches without rows that a loader may give: one that gives nothing else never ends."""

BATCH_BYTES = 2**26
"""Bytes of decoded inputs that are handled at once where all of them are walked (64 MiB)."""

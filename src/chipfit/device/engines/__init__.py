"""Runtimes as the worker sees them, one file each; a worker imports one of them."""

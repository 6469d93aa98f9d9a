"""Traces: files of steps, and the page that shows one. Only the standard library is needed to read and write them."""

"""Pictures: identifying and decoding files, their metadata, thumbnails, variants; no networks."""

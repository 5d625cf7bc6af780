"""Pictures: identify and decode files, read their metadata, make thumbnails and variants; no networks."""

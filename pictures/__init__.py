"""Pictures: opening, identifying and decoding files, what they say of themselves, thumbnails, variants; no networks."""

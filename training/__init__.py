"""How the network that ships was trained; no part of the installed package."""

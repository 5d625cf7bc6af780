"""Training of the network `mini`; not part of the installed package."""

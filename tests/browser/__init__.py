"""Kibana's Vega panels, drawn by the real Vega in a real browser on answers of the real Elasticsearch."""

"""Kibana dashboards: assemble saved objects from readable sources, and install them."""

from simquery.kibana.objects import RESULTS_DASHBOARD, as_ndjson, roles, saved_objects
from simquery.kibana.service import Kibana, dashboard_link

__all__ = ["RESULTS_DASHBOARD", "Kibana", "as_ndjson", "dashboard_link", "roles", "saved_objects"]

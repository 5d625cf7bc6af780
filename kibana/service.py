"""Kibana's HTTP interface: import of saved objects, and links to dashboards."""

import base64
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote

import urllib3
from pydantic import AnyHttpUrl

from simquery.errors import KibanaError, SettingsError
from simquery.kibana.objects import RESULTS_DASHBOARD, SavedObject, as_ndjson, id_in_space
from simquery.settings import Settings

__all__ = ["Kibana", "dashboard_link"]

_OK = 200
_REFUSED = {401, 403}
_MISSING = 404
_CONFLICT = 409


class Kibana:
    """Connection to Kibana.

    Parameters
    ----------
    url
        Kibana's address with its base path; ``/s/NAME`` at the end names a space.
    settings
        Credentials, certificate authority and timeout of the cluster, which Kibana shares.
    space
        Space to work in; by default the one that the address names, or else Kibana's default space.

    Raises
    ------
    SettingsError
        If the CA file cannot be read.
    """

    def __init__(self, url: AnyHttpUrl, settings: Settings, space: str | None = None) -> None:
        self._root, named = _parts(url)
        self.space = space or named
        self.address = self._root + (f"/s/{self.space}" if self.space else "")
        self._pool = urllib3.PoolManager(timeout=settings.timeout, retries=False, **_trust(url, settings))
        self._headers = {"kbn-xsrf": "simquery", **_credentials(settings)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.clear()

    def ensure_space(self) -> None:
        """Create the space if it does not exist."""
        if self.space is None:
            return
        body = json.dumps({"id": self.space, "name": self.space}).encode()
        headers = {"content-type": "application/json"}
        self._send("POST", f"{self._root}/api/spaces/space", body=body, headers=headers, fine={_OK, _CONFLICT})

    def install(self, objects: Sequence[SavedObject]) -> None:
        """Import saved objects, replacing those with the same id, so that a second import changes nothing.

        Raises
        ------
        KibanaError
            If Kibana refuses an object; the message names each of them and the reason.
        """
        answer = self._send(
            "POST",
            f"{self.address}/api/saved_objects/_import?overwrite=true",
            fields={"file": ("simquery.ndjson", as_ndjson(objects), "application/x-ndjson")},
        )
        # The status is 200 even if every object failed.
        if answer.get("success") is not True or answer.get("successCount") != len(objects):
            refused = [_described(error) for error in answer.get("errors", [])]
            what = "; ".join(refused) or f"{answer.get('successCount', 0)} of {len(objects)} were imported"
            raise KibanaError(f"{self.address} did not import all saved objects: {what}.")

    def check(self, objects: Sequence[SavedObject]) -> None:
        """Read back what was imported: a Kibana that cannot read a panel drops it from its dashboard without a word.

        Raises
        ------
        KibanaError
            If Kibana lacks an object, or a dashboard has other panels than it was given; the message names them.
        """
        wanted = [{"type": each["type"], "id": each["id"]} for each in objects]
        body = json.dumps({"objects": wanted, "excludeExportDetails": True}).encode()
        headers = {"content-type": "application/json"}
        lines = self._answer("POST", f"{self.address}/api/saved_objects/_export", body=body, headers=headers)
        kept = {each["id"]: each for each in map(json.loads, lines.splitlines())}
        lost = [f"{each['type']} '{each['id']}'" for each in objects if each["id"] not in kept]
        for each in objects:
            if each["type"] == "dashboard" and each["id"] in kept:
                missing = _panels(each) - _panels(kept[each["id"]])
                lost += [f"panel {name} of dashboard '{each['id']}'" for name in sorted(missing)]
        if lost:
            raise KibanaError(
                f"{self.address} imported the saved objects without an error, but has lost {'; '.join(lost)}: this"
                " version of Kibana cannot read them."
            )

    def _send(self, method: str, url: str, *, fine: set[int] | None = None, **request: Any) -> dict[str, Any]:
        answer = self._request(method, url, **request)
        content = _parsed(answer.data)
        if answer.status in (fine or {_OK}) and isinstance(content, dict):
            return content
        raise self._refusal(answer, url)

    def _answer(self, method: str, url: str, **request: Any) -> bytes:
        answer = self._request(method, url, **request)
        if answer.status != _OK:
            raise self._refusal(answer, url)
        return answer.data

    def _request(self, method: str, url: str, **request: Any) -> urllib3.BaseHTTPResponse:
        headers = self._headers | request.pop("headers", {})
        try:
            return self._pool.request(method, url, headers=headers, **request)
        except urllib3.exceptions.SSLError as error:
            raise KibanaError(
                f"The certificate of {self._root} cannot be trusted ({_cause(error)}): set SIMQUERY_CA_FILE."
            ) from error
        except urllib3.exceptions.HTTPError as error:
            raise KibanaError(
                f"{self._root} cannot be reached ({_cause(error)}): check --url, and that Kibana has started."
            ) from error

    def _refusal(self, answer: urllib3.BaseHTTPResponse, url: str) -> KibanaError:
        content = _parsed(answer.data)
        if answer.status in _REFUSED:
            return KibanaError(f"{self._root} refuses the credentials or does not allow this: {_said(content)}.")
        if answer.status == _MISSING:
            return KibanaError(f"{url} does not exist: check --url and --space.")
        return KibanaError(f"{self._root} answers with HTTP status {answer.status}: {_said(content)}.")


def dashboard_link(url: AnyHttpUrl, query: str) -> str:
    """Return a link to a saved query on the dashboard Results.

    Parameters
    ----------
    url
        Kibana's address, with ``/s/NAME`` at the end if the dashboards are in that space.
    query
        Id of the saved query.
    """
    dashboard = id_in_space(RESULTS_DASHBOARD, _parts(url)[1])
    # Kibana reads this as Rison, in which only ! and ' need escaping; an id contains neither.
    state = quote(f"(query:(language:kuery,query:'query:\"{query}\"'))", safe="():,!'")
    return f"{str(url).rstrip('/')}/app/dashboards#/view/{dashboard}?_a={state}"


def _panels(dashboard: SavedObject) -> set[str]:
    """What the panels of a dashboard show, by type and id."""
    shown = {each["name"].partition(":")[0]: f"{each['type']} '{each['id']}'" for each in dashboard["references"]}
    indices = {panel["panelIndex"] for panel in json.loads(dashboard["attributes"]["panelsJSON"])}
    return {shown[index] for index in indices & shown.keys()}


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _parts(url: AnyHttpUrl) -> tuple[str, str | None]:
    """Split an address into Kibana's own address and the space that it names."""
    address = str(url).rstrip("/")
    named = re.search(r"/s/([a-z0-9_-]+)$", address)
    return (address, None) if named is None else (address[: named.start()], named[1])


def _trust(url: AnyHttpUrl, settings: Settings) -> dict[str, Any]:
    if url.scheme != "https":
        return {}
    if not settings.verify_certificates:
        return {"cert_reqs": "CERT_NONE", "assert_hostname": False}
    if settings.ca_file is None:
        return {}
    if not os.access(settings.ca_file, os.R_OK):
        raise SettingsError(f"SIMQUERY_CA_FILE names '{settings.ca_file}', which cannot be read.")
    return {"ca_certs": str(settings.ca_file)}


def _credentials(settings: Settings) -> dict[str, str]:
    if settings.api_key:
        return {"authorization": f"ApiKey {settings.api_key.get_secret_value()}"}
    if settings.username and settings.password:
        # Encoded here: urllib3 takes Latin-1 only, and Kibana reads UTF-8.
        pair = f"{settings.username}:{settings.password.get_secret_value()}"
        return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"}
    return {}


def _described(error: Mapping[str, Any]) -> str:
    why = error.get("error", {})
    reason = why.get("message") or why.get("type", "unknown")
    missing = ", ".join(f"{each.get('type')} '{each.get('id')}'" for each in why.get("references", []))
    return f"{error.get('type')} '{error.get('id')}': {reason}" + (f" ({missing})" if missing else "")


def _said(content: object) -> str:
    message = content.get("message") if isinstance(content, dict) else None
    # Elasticsearch gives its reasons with their causes, on several lines; the last one matters.
    return " ".join(str(message or "it gave no reason").rpartition("]: ")[2].split()).rstrip(".")


def _cause(error: Exception) -> str:
    return str(error).rsplit(": ", 1)[-1].rstrip(".)'\"")

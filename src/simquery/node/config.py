"""The server's configuration files, as text."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

__all__ = [
    "CERTIFICATE",
    "KEY",
    "LOGGING",
    "common_settings",
    "elasticsearch_yml",
    "jvm_options",
    "own_jvm_options",
]

KEY = "node.key"
CERTIFICATE = "node.crt"
"""Files with the node's private key and its certificate, in the configuration folder."""


def common_settings(modules: Collection[str] | None) -> dict[str, str | bool | int]:
    """Collect the settings that a server needs both as a program and in a container.

    Parameters
    ----------
    modules
        The server's modules, because a setting of a missing module keeps the server from starting; None for all.
    """
    settings: dict[str, str | bool | int] = {
        "cluster.name": "simquery",
        "node.name": "local",
        "discovery.type": "single-node",
        "xpack.security.enabled": True,
        "xpack.security.autoconfiguration.enabled": False,
        # Clients must identify the node before they send a password: any user can open a port on loopback.
        "xpack.security.http.ssl.enabled": True,
        "xpack.security.http.ssl.key": KEY,
        "xpack.security.http.ssl.certificate": CERTIFICATE,
        # Nodes trust each other without a password. Only a program with the key, which only the server's user can
        # read, may connect to the transport port as a node.
        "xpack.security.transport.ssl.enabled": True,
        "xpack.security.transport.ssl.key": KEY,
        "xpack.security.transport.ssl.certificate": CERTIFICATE,
        "xpack.security.transport.ssl.certificate_authorities": CERTIFICATE,
        "action.destructive_requires_name": True,
        # The defaults are percentages, made for servers. A workstation's disk that is 95 % full may still have 50 GB
        # left, but the indices would become read-only.
        "cluster.routing.allocation.disk.watermark.low": "2gb",
        "cluster.routing.allocation.disk.watermark.high": "1gb",
        "cluster.routing.allocation.disk.watermark.flood_stage": "512mb",
    }
    optional: dict[str, tuple[str, bool]] = {
        "ingest-geoip": ("ingest.geoip.downloader.enabled", False),  # it would connect to Elastic
        "x-pack-ml": ("xpack.ml.enabled", False),
    }
    for module, (name, value) in optional.items():
        if modules is None or module in modules:
            settings[name] = value
    return settings


def elasticsearch_yml(data: Path, logs: Path, port: int, modules: Collection[str]) -> str:
    """Return the text of ``elasticsearch.yml`` for a server on loopback."""
    settings: Mapping[str, object] = common_settings(modules) | {
        "path.data": str(data),
        "path.logs": str(logs),
        "network.host": "127.0.0.1",
        "http.port": port,
    }
    # Every JSON value is a YAML value, so paths with spaces and colons need no special quoting.
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in settings.items()]
    return "\n".join(["# simquery rewrites this file at each start: changes here are lost.", *lines, ""])


def jvm_options() -> str:
    """Return the text of ``jvm.options`` for a server whose own file cannot be read (one installed by a package)."""
    # With the incubating module, Lucene compares vectors with the processor's vector instructions.
    options = (
        "-XX:+UseG1GC",
        "-Djava.io.tmpdir=${ES_TMPDIR}",
        "20-:--add-modules=jdk.incubator.vector",
        "-XX:+ExitOnOutOfMemoryError",
    )
    return "\n".join([*options, ""])


def own_jvm_options(heap: str, marker: str) -> str:
    """Return the text of the file in ``jvm.options.d``, which overrides the others.

    Parameters
    ----------
    heap
        Size of the heap.
    marker
        An argument without effect, by which simquery recognises its server among other processes.
    """
    options = [
        f"-Xms{heap}",
        f"-Xmx{heap}",
        marker,
        # A heap dump would write the case's vectors to disk, and Java's own logs would take up to 2 GB.
        "-XX:-HeapDumpOnOutOfMemoryError",
        "-Xlog:disable",
        "-Xlog:all=warning:stderr:utctime,level,tags",
    ]
    return "\n".join([*options, ""])


LOGGING = """\
# simquery rewrites this file at each start: changes here are lost.
status = error

appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] [%node_name]%marker %m%consoleException%n

appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = ${sys:es.logs.base_path}${sys:file.separator}${sys:es.logs.cluster_name}.log
appender.file.filePattern = ${sys:es.logs.base_path}${sys:file.separator}${sys:es.logs.cluster_name}-%i.log.gz
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] [%node_name]%marker %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 20MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 5

rootLogger.level = info
rootLogger.appenderRef.console.ref = console
rootLogger.appenderRef.file.ref = file
"""
"""The file ``log4j2.properties``: a log file of 20 MB and five older ones."""

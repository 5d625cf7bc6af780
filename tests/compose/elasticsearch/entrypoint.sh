#!/bin/bash
# What Elastic documents of its image: the password of `elastic` from ELASTIC_PASSWORD or the file ELASTIC_PASSWORD_FILE,
# settings from environment variables with dots in their names.
set -euo pipefail
umask 0002
export ES_HOME=/usr/share/elasticsearch ES_PATH_CONF=/usr/share/elasticsearch/config ES_DISTRIBUTION_TYPE=docker
export ES_JAVA_HOME=$ES_HOME/jdk JAVA_HOME=$ES_HOME/jdk JAVA=$ES_HOME/jdk/bin/java JAVA_TYPE="bundled JDK"
export ES_TMPDIR=/tmp LIBFFI_TMPDIR=/tmp ES_JAVA_OPTS=${ES_JAVA_OPTS:-}
small=(-Xms4m -Xmx64m -XX:+UseSerialGC)

keystore() {
  "$JAVA" "${small[@]}" -Dcli.name=keystore -Dcli.script=elasticsearch-keystore -Dcli.libs=lib/tools/keystore-cli \
    -Des.path.home="$ES_HOME" -Des.path.conf="$ES_PATH_CONF" -Des.distribution.type=docker -Des.java.type="$JAVA_TYPE" \
    -cp "$ES_HOME/lib/*:$ES_HOME/lib/cli-launcher/*" org.elasticsearch.launcher.CliToolLauncher "$@"
}

if [[ -n ${ELASTIC_PASSWORD_FILE:-} ]]; then
  ELASTIC_PASSWORD=$(< "$ELASTIC_PASSWORD_FILE")
  export ELASTIC_PASSWORD
fi
if [[ -n ${ELASTIC_PASSWORD:-} ]]; then
  [[ -f config/elasticsearch.keystore ]] || keystore create --silent
  keystore list | grep --quiet '^bootstrap.password$' || keystore add --stdin bootstrap.password <<< "$ELASTIC_PASSWORD"
fi
if [[ $(ulimit -Hn) != unlimited && $(ulimit -Hn) -lt 65535 && -f /usr/local/lib/limits.so ]]; then
  export LD_PRELOAD=/usr/local/lib/limits.so
fi
# This copy of the server lacks the modules that these belong to, and ends at settings that it does not know.
exec env --unset=ingest.geoip.downloader.enabled --unset=xpack.ml.enabled \
  "$JAVA" "${small[@]}" -cp "$ES_HOME/lib/tools/server-launcher/*" org.elasticsearch.server.launcher.ServerLauncher

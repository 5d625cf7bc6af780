# The command line and the indexer. The base image is pinned here, by the digest of its manifest for all architectures;
# the packages are pinned in docker/constraints.txt.
ARG PYTHON=3.11.13-slim-bookworm@sha256:86adf8dbadc3d6e82ee5dd2c74bec2e1c2467cdad47886280501df722372d2e1

FROM python:${PYTHON} AS build
ARG EXTRAS="[cpu]"
ENV PIP_CONSTRAINT=/source/docker/constraints.txt PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY docker/constraints.txt docker/constraints.txt
COPY pyproject.toml LICENSE ./
# An empty package brings the dependencies, so that Docker downloads them again only when one of these files changes.
RUN python -m venv /opt/simquery \
 && /opt/simquery/bin/pip install setuptools wheel \
 && mkdir --parents src/simquery && touch README.md src/simquery/__init__.py \
 && echo '__version__ = "0"' > src/simquery/version.py \
 && /opt/simquery/bin/pip install --no-build-isolation ".${EXTRAS}" \
 && rm --recursive build src
COPY README.md ./
COPY src src
COPY mappings mappings
COPY pictures pictures
COPY embedders embedders
COPY indexer indexer
COPY query query
COPY evaluation evaluation
COPY kibana kibana
RUN /opt/simquery/bin/pip install --no-build-isolation --no-deps . && /opt/simquery/bin/pip uninstall --yes pip

FROM python:${PYTHON}
COPY --from=build /opt/simquery /opt/simquery
COPY docker/set_up.py /opt/simquery/set_up.py
# The folders that volumes are mounted at: a new volume takes over their owner.
RUN useradd --uid 1000 --user-group --home-dir /home/simquery --create-home simquery \
 && for volume in own trust elasticsearch elasticsearch-2 elasticsearch-3 kibana indexer analyst; do \
      install -d -o 1000 -g 1000 /run/simquery/$volume; done \
 && install -d -o 1000 -g 1000 /weights /work
ENV PATH=/opt/simquery/bin:$PATH \
    KERAS_HOME=/weights \
    SIMQUERY_WEIGHTS_DIR=/weights \
    PYTHONDONTWRITEBYTECODE=1 \
    TF_CPP_MIN_LOG_LEVEL=2
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["simquery"]
CMD ["--help"]

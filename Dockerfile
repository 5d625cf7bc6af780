# The command line and the indexer. Everything that is installed is pinned: the base image here, the packages in
# docker/constraints.txt.
ARG PYTHON=3.11.13-slim-bookworm

FROM python:${PYTHON} AS build
ARG EXTRAS=""
WORKDIR /source
COPY docker/constraints.txt docker/constraints.txt
ENV PIP_CONSTRAINT=/source/docker/constraints.txt PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/simquery
# What it needs, before what changes more often: so that Docker can keep this layer.
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY mappings mappings
COPY pictures pictures
COPY embedders embedders
COPY indexer indexer
COPY query query
COPY evaluation evaluation
COPY kibana kibana
RUN /opt/simquery/bin/pip install ".${EXTRAS}" && /opt/simquery/bin/pip uninstall --yes pip

FROM python:${PYTHON}
COPY --from=build /opt/simquery /opt/simquery
COPY docker/set_up.py /opt/simquery/set_up.py
# The folders that volumes are mounted at: a new volume takes over their owner.
RUN useradd --uid 1000 --user-group --home-dir /home/simquery --create-home simquery \
 && for volume in own trust elasticsearch elasticsearch-2 elasticsearch-3 kibana indexer; do \
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

#!/usr/bin/env bash
# Provides what the tests of the containers need on a Debian machine without a Docker engine and without an image
# registry: the engine, Compose, and a Python base image to build on.
#
#   engine.sh FOLDER        makes in FOLDER what is missing there; needs root and Go, 5 to 15 minutes the first time
#
# FOLDER then holds docker/cli-plugins (DOCKER_CONFIG) and base.tar. The tests start and stop the engine themselves.
set -euo pipefail
folder=$1
compose=v2.40.3
buildx=v0.29.1
export DEBIAN_FRONTEND=noninteractive

missing=()
for program in dockerd debootstrap; do command -v $program > /dev/null || missing+=("$program"); done
if ((${#missing[@]})); then
  echo "installing ${missing[*]}"
  # tini becomes the engine's docker-init; recommended packages would bring AppArmor and Git.
  { apt-get update -q && apt-get install -y -q --no-install-recommends docker.io debootstrap tini; } > /dev/null
fi

plugins=$folder/docker/cli-plugins
mkdir --parents "$plugins"
# `go install` refuses modules with exclude or replace directives, so each is built in its own folder.
build() {
  local module=$1 version=$2 package=$3 variable=$4 target=$plugins/$5
  [[ -x $target ]] && return
  echo "building $5 $version"
  local source
  source=$(go mod download -json "$module@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  (cd "$source" && CGO_ENABLED=0 GOFLAGS=-mod=readonly nice go build -trimpath -ldflags "-w -X $variable=$version" -o "$target.new" "$package")
  mv "$target.new" "$target"
}
build github.com/docker/compose/v2 $compose ./cmd github.com/docker/compose/v2/internal.Version docker-compose
build github.com/docker/buildx $buildx ./cmd/buildx github.com/docker/buildx/version.Version docker-buildx

if [[ ! -f $folder/base.tar ]]; then
  echo "making the base image"
  base=$(mktemp --directory --tmpdir="$folder")
  trap 'rm --recursive --force "$base"' EXIT
  packages=python3.11,python3.11-venv,python3-venv,ca-certificates,openssl,netbase,tzdata,curl
  nice debootstrap --variant=minbase --include=$packages bookworm "$base" > /dev/null
  ln --symbolic --force python3.11 "$base/usr/bin/python"
  # What this machine trusts beyond Debian's authorities, pip must trust too.
  cp --recursive /usr/local/share/ca-certificates "$base/usr/local/share/"
  chroot "$base" update-ca-certificates > /dev/null 2>&1
  rm --recursive --force "$base"/var/cache/apt/archives/*.deb "$base"/var/lib/apt/lists/*
  tar --directory "$base" --create --file "$folder/base.tar.new" .
  mv "$folder/base.tar.new" "$folder/base.tar"
fi

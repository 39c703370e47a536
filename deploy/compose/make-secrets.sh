#!/bin/sh
# Makes the secrets that compose.yaml names, each as a file in ./secrets, and leaves those alone that are there already;
# certificates that end soon are made anew. It needs the catalogsync program: CATALOGSYNC names it where it is not in the
# PATH. The services run as user 65532 and must own what they read, so this needs root where that user is another one.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets

random() { head -c "$1" /dev/urandom | base64 | tr -d '\n'; }
make() { # NAME CONTENT
	if [ ! -e "secrets/$1" ]; then
		printf '%s\n' "$2" >"secrets/$1"
		echo "made secrets/$1"
	fi
}

make auth.key "$(random 32)"
make operator.token "$(random 24)"
make postgres.password "$(random 24 | tr -d '+/=')"
make pgpass "postgres:5432:catalogsync:catalogsync:$(cat secrets/postgres.password)"
"${CATALOGSYNC:-catalogsync}" identities --dir secrets

if [ "$(id -u)" = 0 ]; then
	chown 65532 secrets/*
elif [ "$(id -u)" != 65532 ]; then
	echo "run 'chown 65532 secrets/*' as root: the services run as that user" >&2
fi

#!/bin/sh
# Starts a store whose users are those of users.acl, with the passwords of the environment.
#
#   start.sh valkey-server --appendonly yes …
set -eu
umask 077
filled="${ACL_FILE:-/tmp/users.acl}"
# An empty password would let everybody in: refuse it.
sed -e "s/PRODUCER_PASSWORD/${PRODUCER_PASSWORD:?}/" -e "s/API_PASSWORD/${API_PASSWORD:?}/" \
    -e "s/WORKER_PASSWORD/${WORKER_PASSWORD:?}/" -e "s/CELERY_PASSWORD/${CELERY_PASSWORD:?}/" \
    "$(dirname "$0")/users.acl" > "$filled"
if [ "$(id -u)" = 0 ]; then chown valkey "$filled"; fi
exec docker-entrypoint.sh "$@" --aclfile "$filled"

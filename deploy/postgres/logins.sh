#!/bin/sh
# Runs once, when the database is made: logins for the roles that the migrations give rights to.
# Passwords are read from the environment, so that no command line shows them.
set -eu
psql --no-psqlrc --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv worker WORKER_DATABASE_PASSWORD
\getenv api API_DATABASE_PASSWORD
CREATE ROLE fixbill_worker LOGIN BYPASSRLS PASSWORD :'worker';
CREATE ROLE fixbill_api LOGIN NOBYPASSRLS PASSWORD :'api';
SQL

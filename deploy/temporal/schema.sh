#!/bin/sh
# Create Temporal's two databases and bring their tables to this version's state. Each step leaves alone what is there
# already, so it may run at every start. The connection comes from SQL_PLUGIN, SQL_HOST, SQL_PORT, SQL_USER, SQL_PASSWORD.
set -eu

schemas=/etc/temporal/schema/postgresql/v12

for pair in temporal:temporal temporal_visibility:visibility; do
    database=${pair%%:*}
    versions=$schemas/${pair##*:}/versioned
    temporal-sql-tool --database "$database" create-database
    temporal-sql-tool --database "$database" setup-schema --version 0.0
    temporal-sql-tool --database "$database" update-schema --schema-dir "$versions"
    echo "database $database is ready"
done

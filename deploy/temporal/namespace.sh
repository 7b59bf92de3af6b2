#!/bin/sh
# Create the namespace with its retention and search attributes, or bring an existing one to the same state.
# The server comes from TEMPORAL_ADDRESS, the namespace from TEMPORAL_NAMESPACE, the retention from RETENTION;
# ATTEMPTS and PAUSE (seconds) say how long to wait for the server.
set -eu

: "${TEMPORAL_ADDRESS:?}" "${TEMPORAL_NAMESPACE:?}" "${RETENTION:?}"
attempts=${ATTEMPTS:-60}
pause=${PAUSE:-2}

attempt=1
until temporal operator cluster health >/dev/null 2>&1; do
    if [ "$attempt" -ge "$attempts" ]; then
        echo "Temporal at $TEMPORAL_ADDRESS is not healthy after $attempts attempts; see its log" >&2
        exit 1
    fi
    attempt=$((attempt + 1))
    sleep "$pause"
done

if temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
    temporal operator namespace update --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"
else
    temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"
fi

# A namespace is known to every part of the server only after some seconds; creating an attribute that is there already
# does nothing.
attribute() {
    attempt=1
    until temporal operator search-attribute create --namespace "$TEMPORAL_NAMESPACE" --name "$1" --type "$2"; do
        if [ "$attempt" -ge "$attempts" ]; then
            echo "search attribute $1 could not be created in namespace $TEMPORAL_NAMESPACE" >&2
            exit 1
        fi
        attempt=$((attempt + 1))
        sleep "$pause"
    done
}

attribute DiscernusProject Keyword
attribute DiscernusExperiment Keyword
attribute DiscernusSession Keyword
attribute DiscernusStatus Keyword
attribute DiscernusStore Keyword
attribute DiscernusModels KeywordList
echo "namespace $TEMPORAL_NAMESPACE is ready"

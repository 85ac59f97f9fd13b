"""The metrics of a running job, as Prometheus' own client library parses OpenMetrics: python openmetrics.py URL

Prints each series by its name and the value of its label besides `job`, where it has one; of buckets only that they are
there. Exits with an error that says what the parser does not take.
"""

import collections
import json
import sys
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families

CONTENT_TYPE = "application/openmetrics-text"


def main():
    request = urllib.request.Request(sys.argv[1], headers={"Accept": f"{CONTENT_TYPE}; version=1.0.0"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        told, text = answer.headers["Content-Type"], answer.read().decode()
    if not told.startswith(CONTENT_TYPE):
        sys.exit(f"asked for {CONTENT_TYPE}, and was given {told}")
    series = collections.defaultdict(dict)
    for family in text_string_to_metric_families(text):
        if not family.documentation or family.type == "unknown":
            sys.exit(f"{family.name} has no help or no type")
        for sample in family.samples:
            if sample.labels.get("job") is None:
                sys.exit(f"{sample.name} does not say of which job it is")
            labels = [value for name, value in sample.labels.items() if name != "job"]
            if "le" not in sample.labels:
                series[sample.name]["/".join(labels)] = sample.value
    print(json.dumps(series))


if __name__ == "__main__":
    main()

"""Reads metrics on standard input by Prometheus's own parser and prints them as JSON.

Prints an object from series, as text, to their values. Fails for what a scrape would refuse or
misread: a family or a series twice, and buckets that are no histogram.
"""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

text = sys.stdin.read()
assert text.endswith("\n"), "the last line has no end"
series = {}
families = set()
for family in text_string_to_metric_families(text):
    assert family.name not in families, f"{family.name} twice"
    families.add(family.name)
    assert family.type != "unknown" and family.documentation, f"{family.name} is not described"
    buckets = {}
    for sample in family.samples:
        labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
        name = f"{sample.name}{{{labels}}}"
        assert name not in series, f"{name} twice"
        series[name] = sample.value
        if family.type == "counter":
            assert sample.name.endswith("_total"), name
        if sample.name.endswith("_bucket"):
            rest = tuple((k, v) for k, v in sample.labels.items() if k != "le")
            buckets.setdefault(rest, []).append((float(sample.labels["le"]), sample.value))
    for rest, found in buckets.items():
        assert found == sorted(found), f"{family.name}{rest}: bounds or counts fall"
        counts = [count for _, count in found]
        assert counts == sorted(counts) and found[-1][0] == float("inf"), f"{family.name}{rest}"
        labels = ",".join(f'{name}="{value}"' for name, value in rest)
        assert counts[-1] == series[f"{family.name}_count{{{labels}}}"]
json.dump(series, sys.stdout)

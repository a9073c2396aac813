"""Reads YAML documents, separated by NUL, with PyYAML, and prints each as a line of JSON."""

import json
import sys

import yaml

for text in sys.stdin.read().split("\0"):
    print(json.dumps(yaml.safe_load(text), sort_keys=True, default=str))

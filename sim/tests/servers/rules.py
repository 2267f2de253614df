"""Prints, for a result of `glare sim --format json`, which rules were broken in how many runs, with the first message of each."""
import json
import sys

broken = {}
for line in open(sys.argv[1]):
    case = json.loads(line)
    if case.get("verdict") in (None, "pass"):
        continue
    found = case.get("findings") or [{"rule": case["verdict"], "message": str(case.get("message", ""))}]
    for rule, message in {finding["rule"]: finding["message"] for finding in reversed(found)}.items():
        seeds, _ = broken.setdefault(rule, ([], message))
        seeds.append(case["id"].rsplit("/", 1)[-1])
for rule, (seeds, message) in sorted(broken.items(), key=lambda entry: -len(entry[1][0])):
    print(f"    {rule} in {len(seeds)} runs, first with seed {seeds[0]}: {message[:300]}")

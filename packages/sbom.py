"""Prints the bill of materials of the program (CycloneDX 1.5): the crates that are compiled into it, with versions, licences and checksums."""

import json
import subprocess
import tomllib

CARGO = ["cargo", "metadata", "--locked", "--format-version", "1"]


def linked(metadata: dict) -> set:
    """The ids of the crates that are compiled into `glare`: no build scripts, procedural macros and tests."""
    macros = {p["id"] for p in metadata["packages"] if any("proc-macro" in target["kind"] for target in p["targets"])}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    waiting = [package["id"] for package in metadata["packages"] if package["name"] == "glare"]
    found = set()
    while waiting:
        crate = waiting.pop()
        if crate in found or crate in macros:
            continue
        found.add(crate)
        for dependency in nodes[crate]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    return found


def component(package: dict, checksums: dict) -> dict:
    name, version = package["name"], package["version"]
    made = {"type": "library", "name": name, "version": version, "purl": f"pkg:cargo/{name}@{version}"}
    if package["license"]:
        made["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum := checksums.get((name, version)):
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return made


def main() -> None:
    with open("Cargo.lock", "rb") as file:
        locked = tomllib.load(file)["package"]
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in locked}
    platform = ["--filter-platform", "x86_64-unknown-linux-gnu"]
    metadata = json.loads(subprocess.check_output(CARGO + platform))
    inside = linked(metadata)
    packages = sorted((p for p in metadata["packages"] if p["id"] in inside), key=lambda p: (p["name"], p["version"]))
    program = next(package for package in packages if package["name"] == "glare")
    packages.remove(program)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "glare", "version": program["version"]}},
        "components": [component(package, checksums) for package in packages],
    }
    print(json.dumps(bill, indent=1))


main()

"""Builds the wheels: one with the program, and one without it that says why where no program fits.

usage: wheel.py VERSION HOMEPAGE GLIBC OUT [MACHINE PROGRAM]
"""

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
NAME = "glare_webrtc"


def metadata(version: str, homepage: str) -> str:
    head = {
        "Metadata-Version": "2.4",
        "Name": "glare-webrtc",
        "Version": version,
        "Summary": "Reproduce WebRTC signaling failures, and find them in servers",
        "License-Expression": "MIT OR Apache-2.0",
        "Project-URL": f"Homepage, {homepage}",
        "Requires-Python": ">=3.8",
        "Description-Content-Type": "text/markdown",
    }
    return "".join(f"{key}: {value}\n" for key, value in head.items()) + "\n" + (HERE / "README.md").read_text()


def write(wheel: Path, version: str, homepage: str, tag: str, pure: bool, files: dict) -> None:
    """Writes a wheel: its files by path, and the records that installers check them by."""
    info = f"{NAME}-{version}.dist-info"
    kind = f"Wheel-Version: 1.0\nGenerator: glare\nRoot-Is-Purelib: {str(pure).lower()}\nTag: {tag}\n"
    files = {**files, f"{info}/METADATA": metadata(version, homepage), f"{info}/WHEEL": kind}
    record = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path, content in files.items():
            content = content if isinstance(content, bytes) else content.encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            record.append(f"{path},sha256={digest},{len(content)}\n")
            add(archive, path, content)
        add(archive, f"{info}/RECORD", "".join([*record, f"{info}/RECORD,,\n"]).encode())
    print(wheel)


def add(archive: zipfile.ZipFile, path: str, content: bytes) -> None:
    # A fixed time: the same files give the same wheel.
    entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = (0o100755 if "/scripts/" in path else 0o100644) << 16
    archive.writestr(entry, content)


def main(version: str, homepage: str, glibc: str, out: str, machine: str = "", program: str = "") -> None:
    platform = f"manylinux_{glibc.replace('.', '_')}_{machine}" if machine else "any"
    module = subprocess.check_output([HERE.parent / "configured", f"pypi/{NAME}.py"], text=True)
    # `pipx run` and `uvx` look for a command with the package's name.
    commands = f"[console_scripts]\nglare-webrtc = {NAME}:main\n"
    files = {f"{NAME}.py": module.replace("@TAG@", platform)}
    if machine:
        files[f"{NAME}-{version}.data/scripts/glare"] = Path(program).read_bytes()
    else:
        commands += f"glare = {NAME}:main\n"
    files[f"{NAME}-{version}.dist-info/entry_points.txt"] = commands
    tag = f"py3-none-{platform}"
    write(Path(out) / f"{NAME}-{version}-{tag}.whl", version, homepage, tag, not machine, files)


main(*sys.argv[1:])

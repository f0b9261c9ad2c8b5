"""One command: prepare the database, then become the real server."""

import argparse
import asyncio
import os
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDS = ("cachefence_web", "aiosqlite", "fastapi", "jinja2", "sqlalchemy", "uvicorn")


def main() -> None:
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        sys.exit(f'{" and ".join(missing)} cannot be imported. In the project root: pip install -e ".[demo]"')
    options = read_options()
    options.data.mkdir(parents=True, exist_ok=True)
    os.environ["CATALOG_DATABASE"] = str(options.data.resolve() / "catalog.sqlite3")
    os.environ["CATALOG_CACHE"] = options.redis or "memory://"
    os.environ["CATALOG_UNCACHED"] = "yes" if options.no_cache else ""
    os.chdir(HERE)
    prepare_database()
    kept = "off" if options.no_cache else os.environ["CATALOG_CACHE"]
    print(f"The sky is clear at http://127.0.0.1:{options.port}/ (cache: {kept})", flush=True)
    serve(options.port, options.workers)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A star catalogue in FastAPI, kept by cachefence-web.")
    parser.add_argument("--redis", metavar="URL", help="keep answers in Redis, not in this process")
    parser.add_argument("--port", type=int, default=8002)
    parser.add_argument("--workers", type=int, help="server processes (default: 1, with Redis 2)")
    parser.add_argument("--no-cache", action="store_true", help="serve the same pages without the cache")
    parser.add_argument("--data", type=Path, default=HERE / ".data", help="folder of the database")
    options = parser.parse_args()
    options.workers = options.workers or (2 if options.redis else 1)
    if options.workers > 1 and not (options.redis or options.no_cache):
        parser.error("memory:// lives inside one process: for several workers give --redis URL")
    return options


def prepare_database() -> None:
    from catalog.resources import engine, fence
    from catalog.seed import seed

    async def prepare() -> None:
        try:
            await seed()
        finally:
            await fence.aclose()
            await engine.dispose()

    asyncio.run(prepare())


def serve(port: int, workers: int) -> None:
    address = ["--host=127.0.0.1", f"--port={port}", f"--workers={workers}"]
    habits = ["--log-level=warning", "--timeout-graceful-shutdown=1"]
    os.execv(sys.executable, [sys.executable, "-m", "uvicorn", *address, *habits, "catalog.app:app"])


if __name__ == "__main__":
    main()

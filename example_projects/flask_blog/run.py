"""One command: prepare the database, then become the real server."""

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDS = ("cachefence_web", "flask", "flask_sqlalchemy", "gunicorn")
THREADS = 64


def main() -> None:
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        sys.exit(f'{" and ".join(missing)} cannot be imported. In the project root: pip install -e ".[demo]"')
    options = read_options()
    options.data.mkdir(parents=True, exist_ok=True)
    os.environ["BLOG_DATABASE"] = str(options.data.resolve() / "blog.sqlite3")
    os.environ["BLOG_CACHE"] = options.redis or "memory://"
    os.environ["BLOG_UNCACHED"] = "yes" if options.no_cache else ""
    os.chdir(HERE)
    prepare_database()
    kept = "off" if options.no_cache else os.environ["BLOG_CACHE"]
    print(f"The ferry leaves from http://127.0.0.1:{options.port}/ (cache: {kept})", flush=True)
    serve(options.port, options.workers)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A blog in Flask, its pages kept by cachefence-web.")
    parser.add_argument("--redis", metavar="URL", help="keep pages in Redis, not in this process")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--workers", type=int, help="server processes (default: 1, with Redis 2)")
    parser.add_argument("--no-cache", action="store_true", help="serve the same pages without the cache")
    parser.add_argument("--data", type=Path, default=HERE / ".data", help="folder of the database")
    options = parser.parse_args()
    options.workers = options.workers or (2 if options.redis else 1)
    if options.workers > 1 and not (options.redis or options.no_cache):
        parser.error("memory:// lives inside one process: for several workers give --redis URL")
    return options


def prepare_database() -> None:
    from blog import create_app
    from blog.seed import seed

    with create_app().app_context():
        seed()


def serve(port: int, workers: int) -> None:
    address, size = f"127.0.0.1:{port}", [f"--workers={workers}", f"--threads={THREADS}"]
    habits = ["--worker-class=gthread", "--graceful-timeout=1", "--no-control-socket", "--log-level=warning"]
    command = [sys.executable, "-m", "gunicorn", f"--bind={address}", *size, *habits, "blog:create_app()"]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()

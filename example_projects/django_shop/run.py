"""One command: prepare the database, then become the real server."""

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDS = ("cachefence_web", "django", "gunicorn", "uvicorn")
COMMANDS = {
    "gunicorn": (
        "--worker-class=gthread", "--threads=64", "--graceful-timeout=1", "--no-control-socket", "--log-level=warning",
        "config.wsgi",
    ),
    "uvicorn": (
        "--lifespan=off", "--timeout-graceful-shutdown=1", "--log-level=warning", "config.asgi:application",
    ),
}


def main() -> None:
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        sys.exit(f'{" and ".join(missing)} cannot be imported. In the project root: pip install -e ".[demo]"')
    options = read_options()
    options.data.mkdir(parents=True, exist_ok=True)
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    os.environ["SHOP_DATABASE"] = str(options.data.resolve() / "shop.sqlite3")
    os.environ["SHOP_CACHE"] = options.redis or "memory://"
    os.environ["SHOP_UNCACHED"] = "yes" if options.no_cache else ""
    os.chdir(HERE)
    prepare_database()
    kept = "off" if options.no_cache else os.environ["SHOP_CACHE"]
    print(f"The bookshop is open at http://127.0.0.1:{options.port}/ (cache: {kept})", flush=True)
    serve(options.server, options.port, options.workers)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A bookshop in Django, its pages kept by cachefence-web.")
    parser.add_argument("--redis", metavar="URL", help="keep pages in Redis, not in this process")
    parser.add_argument("--server", choices=COMMANDS, default="gunicorn", help="gunicorn (default) or uvicorn")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, help="server processes (default: 1, with Redis 2)")
    parser.add_argument("--no-cache", action="store_true", help="serve the same pages without the cache")
    parser.add_argument("--data", type=Path, default=HERE / ".data", help="folder of the database")
    options = parser.parse_args()
    options.workers = options.workers or (2 if options.redis else 1)
    if options.workers > 1 and not (options.redis or options.no_cache):
        parser.error("memory:// lives inside one process: for several workers give --redis URL")
    return options


def prepare_database() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    call_command("seed")


def serve(server: str, port: int, workers: int) -> None:
    here = {"gunicorn": [f"--bind=127.0.0.1:{port}"], "uvicorn": ["--host=127.0.0.1", f"--port={port}"]}
    command = [sys.executable, "-m", server, *here[server], f"--workers={workers}", *COMMANDS[server]]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()

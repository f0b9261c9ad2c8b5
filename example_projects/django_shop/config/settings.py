"""Settings of the bookshop; what differs between two runs stands in the environment."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

# The shop listens on this machine only. A real one reads its key from the environment, and has no default.
SECRET_KEY = os.environ.get("SHOP_SECRET_KEY", "the-bookshop-runs-on-your-own-machine-only")
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]

# memory:// lives in one process; all else is the same on redis://localhost:6379/0, from any number of them.
SHOP_CACHE = os.environ.get("SHOP_CACHE", "memory://")
CACHES = {
    "default": {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": SHOP_CACHE, "KEY_PREFIX": "shop"},
    # Apart, so that clearing the pages logs nobody out.
    "sessions": {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": SHOP_CACHE, "KEY_PREFIX": "sessions"},
}
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
SESSION_CACHE_ALIAS = "sessions"

INSTALLED_APPS = [
    "shop",
    # Follows what each view asks the databases, and what each commit changes in them.
    "cachefence_web.django",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
if os.environ.get("SHOP_UNCACHED"):
    MIDDLEWARE.insert(0, "config.uncached.middleware")

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", BASE_DIR / ".data" / "shop.sqlite3"),
        "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL", "transaction_mode": "IMMEDIATE"},
    }
}

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

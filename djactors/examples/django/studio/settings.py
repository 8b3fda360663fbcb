"""A small Django project. What it needs for djactors is the last line."""

import os

SECRET_KEY = os.environ.get("SECRET_KEY", "for development only")
DEBUG = True
ROOT_URLCONF = "studio.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "studio.apps.StudioConfig"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "studio.db",
        # The view and the outbox write in turn, and wait for each other.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }
}

# The only line for djactors. Its address and the secret are in the environment: DJACTORS_URL and JWT_SECRET.
INSTALLED_APPS += ["djactors.django"]

"""Django's settings, as a list; `environment.py` reads and checks what the environment says."""

import logging
import os
import sys
from pathlib import Path

from ingestion_site import environment, logs
from ingestion_site.env_file import WrongLine
from ingestion_site.variables import WrongSetting

BASE_DIR = Path(__file__).resolve().parent.parent

try:
    ENVIRONMENT = environment.read()
except (WrongSetting, WrongLine) as error:
    # One clear line: a traceback through Django's start would bury it.
    sys.exit(str(error))
for sentence in ENVIRONMENT.warnings:
    sys.stderr.write(f"{sentence}\n")  # logging is set up later, by what follows

DATA_DIR = ENVIRONMENT.data_dir
DEBUG = ENVIRONMENT.debug
SECRET_KEY = ENVIRONMENT.secret_key
ENCRYPTION_KEYS = list(ENVIRONMENT.encryption_keys)
ALLOWED_HOSTS = list(ENVIRONMENT.allowed_hosts)
CSRF_TRUSTED_ORIGINS = list(ENVIRONMENT.csrf_trusted_origins)

# --- The service's own settings, under the names of their environment variables -------------------

QUEUE_NAME = ENVIRONMENT.queue_name
TASK_STATUS_EXPIRY_HOURS = ENVIRONMENT.task_status_expiry_hours
AUDIT_RETENTION_DAYS = ENVIRONMENT.audit_retention_days
MAX_DOCUMENT_BYTES = ENVIRONMENT.max_document_bytes
RESULT_REDIRECT_BYTES = ENVIRONMENT.result_redirect_bytes
MAX_ATTEMPTS = ENVIRONMENT.max_attempts
EXTRACTION_TIMEOUT_SECONDS = ENVIRONMENT.extraction_timeout_seconds
OCR_LANGUAGES = ENVIRONMENT.ocr_languages
OCR_DPI = ENVIRONMENT.ocr_dpi
# The module with the table of engines, and directories from which the extraction's processes may import beside this
# project: for installations with engines of their own (docs/extraction.md).
EXTRACTION_REGISTRY = "documents.extraction.registry"
EXTRACTION_PATH: tuple[Path, ...] = ()
WORKER_PROCESSES = ENVIRONMENT.worker_processes
WORKER_THREADS = ENVIRONMENT.worker_threads
# Worker processes that share this machine's cores. Set by `rundramatiq` and `up` for the processes they start.
HOST_PROCESSES = ENVIRONMENT.host_processes
S3_ENDPOINT_URL = ENVIRONMENT.s3_endpoint_url
S3_BUCKET = ENVIRONMENT.s3_bucket
S3_ACCESS_KEY_ID = ENVIRONMENT.s3_access_key_id
S3_SECRET_ACCESS_KEY = ENVIRONMENT.s3_secret_access_key
S3_REGION = ENVIRONMENT.s3_region
PUBLIC_URL = ENVIRONMENT.public_url
VERSION = "1.0.0"
METRICS_TOKEN = ENVIRONMENT.metrics_token
WEBHOOK_SECRET = ENVIRONMENT.webhook_secret
WEBHOOK_ALLOW_PRIVATE = ENVIRONMENT.webhook_allow_private
WEBHOOK_TIMEOUT_SECONDS = ENVIRONMENT.webhook_timeout_seconds
WEBHOOK_MIN_BACKOFF_SECONDS = ENVIRONMENT.webhook_min_backoff_seconds
WEBHOOK_MAX_BACKOFF_SECONDS = ENVIRONMENT.webhook_max_backoff_seconds

# --- The job ledger -------------------------------------------------------------------------------

MAX_QUEUE_SIZE = ENVIRONMENT.max_queue_size
REQUESTS_PER_MINUTE = ENVIRONMENT.requests_per_minute
DOCUMENTS_PER_MINUTE = ENVIRONMENT.documents_per_minute
LONG_POLL_WAITERS = ENVIRONMENT.long_poll_waiters
QUEUEADMIN = {
    "REDIS_URL": ENVIRONMENT.redis.url,
    "REDIS_SENTINELS": ENVIRONMENT.redis.sentinels,
    "REDIS_SENTINEL_MASTER": ENVIRONMENT.redis.sentinel_master,
    "REDIS_SENTINEL_USERNAME": ENVIRONMENT.redis.sentinel_username,
    "REDIS_SENTINEL_PASSWORD": ENVIRONMENT.redis.sentinel_password,
    "REDIS_CLUSTER_NODES": ENVIRONMENT.redis.cluster_nodes,
    "REDIS_CA_FILE": ENVIRONMENT.redis.ca_file,
    "REDIS_CERT_FILE": ENVIRONMENT.redis.cert_file,
    "REDIS_KEY_FILE": ENVIRONMENT.redis.key_file,
    "NAMESPACE": "ingestion",
    "MAX_QUEUE_SIZE": MAX_QUEUE_SIZE,
    "MAX_ATTEMPTS": MAX_ATTEMPTS,
    "MIN_BACKOFF_SECONDS": ENVIRONMENT.min_backoff_seconds,
    "MAX_BACKOFF_SECONDS": ENVIRONMENT.max_backoff_seconds,
    # Set by `rundramatiq` from its options, for the worker processes it starts.
    "QUEUES": tuple(filter(None, os.environ.get("QUEUEADMIN_QUEUES", "").split(","))),
    "CLEANUP_COMMAND": "cleanup_tasks",
    "WORKER_NAME": os.environ.get("QUEUEADMIN_WORKER_NAME", ""),
    "SHUTDOWN_SECONDS": ENVIRONMENT.shutdown_seconds,
    "SILENT_SECONDS": ENVIRONMENT.worker_silent_seconds,
    "VERSION": ENVIRONMENT.release or VERSION,
}
DRAMATIQ_BROKER = {
    "BROKER": "queueadmin.broker.LedgerRedisBroker",
    "OPTIONS": {},
    "MIDDLEWARE": [
        # In this order: Dramatiq calls the after-hooks in reverse.
        "queueadmin.middleware.DeadLetterMiddleware",
        "queueadmin.middleware.RetryMiddleware",
    ],
}

# --- Django ---------------------------------------------------------------------------------------

INSTALLED_APPS = [
    # Sets the broker up in django_dramatiq's way, without its Task table, admin page and clean-up actor.
    "ingestion_site.apps.IngestionSiteConfig",
    "queueadmin.apps.QueueAdminConfig",
    "documents.apps.DocumentsConfig",
    "queueadmin.apps.ControlPlaneConfig",  # django.contrib.admin, with the control plane in it
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "ingestion_site.metrics.answer_metrics",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "ingestion_site.requests.RequestLog",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "ingestion_site.urls"
WSGI_APPLICATION = "ingestion_site.wsgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": ENVIRONMENT.database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
# Read from the installed packages at start: nothing to collect, so nothing that a deployment can forget.
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 3600

# A request body is a reference to a document, never the document.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# --- Browser security -----------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],  # the icons inside swagger-ui's style sheet
        "connect-src": ["'self'"],
        "font-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    },
}
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
if ENVIRONMENT.behind_https_proxy:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 31_536_000

SILENCED_SYSTEM_CHECKS = [
    # HTTPS has one switch here, BEHIND_HTTPS_PROXY, and ingestion.W009 names it; redirecting is the proxy's business.
    "security.W004",
    "security.W008",
    "security.W012",
    "security.W016",
    # What other hosts of the domain do is not this service's to decide.
    "security.W005",
    "security.W021",
]

# --- API ------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["documents.api.auth.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "documents.api.problem.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Document ingestion",
    "DESCRIPTION": "Submit documents that lie in object storage; read their text, pages and metadata.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "documents.api.openapi.finish",
    ],
}

# --- Logs -----------------------------------------------------------------------------------------

LOGGING = logs.config(
    level=ENVIRONMENT.log_level,
    style=ENVIRONMENT.log_format,
    colours=ENVIRONMENT.log_colours,
    file=ENVIRONMENT.log_file,
    file_bytes=ENVIRONMENT.log_file_bytes,
)
DJANGO_STRUCTLOG_STATUS_4XX_LOG_LEVEL = logging.INFO  # a client's mistake is no event for an operator
DJANGO_STRUCTLOG_USER_ID_FIELD = ""  # asking for it would read the session's row with every request
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False  # behind a proxy it is the proxy's, or whatever the client says

"""Exit 0 when the web server in this container is ready: `python docker/healthcheck.py [URL]`."""

import os
import sys
import urllib.error
import urllib.request


def main() -> int:
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/health/ready"
    # The service answers only to the hosts in ALLOWED_HOSTS.
    host = os.environ.get("ALLOWED_HOSTS", "localhost").split(",")[0].strip().lstrip(".")
    request = urllib.request.Request(  # noqa: S310  (a URL of ours, on this machine)
        url, headers={"Host": "localhost" if host in ("", "*") else host}
    )
    try:
        with urllib.request.urlopen(request, timeout=4) as response:  # noqa: S310  (a URL of ours, on this machine)
            return 0 if response.status == 200 else 1
    except (urllib.error.URLError, TimeoutError) as error:
        sys.stderr.write(f"not ready: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())

"""The verification that docs/api.md prints accepts what we sign, and nothing else."""

import base64
import re
import secrets
import time
from pathlib import Path
from typing import Any

import pytest

from documents.callbacks.signing import signed_headers

PAGE = Path(__file__).resolve().parents[3] / "docs" / "api.md"
SECRET = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
BODY = '{"type":"task.completed","data":{"file_name":"naïve.txt"}}'.encode()


@pytest.fixture
def is_genuine() -> Any:
    """The page's function, word for word."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    return names["is_genuine"]


def signed(*given: str, age: int = 0) -> dict[str, str]:
    return signed_headers(given, message_id="msg_1", timestamp=int(time.time()) - age, body=BODY)


def test_what_we_sign_is_genuine_also_while_secrets_are_rotated(is_genuine: Any) -> None:
    other = "whsec_" + base64.b64encode(b"o" * 32).decode()
    assert is_genuine(SECRET, signed(SECRET), BODY)
    assert is_genuine(SECRET, signed(other, SECRET), BODY)


def test_another_body_id_secret_or_time_is_not(is_genuine: Any) -> None:
    headers = signed(SECRET)
    assert not is_genuine(SECRET, headers, BODY + b" ")
    assert not is_genuine(SECRET, {**headers, "webhook-id": "msg_2"}, BODY)
    assert not is_genuine("whsec_" + base64.b64encode(b"o" * 32).decode(), headers, BODY)
    assert not is_genuine(SECRET, signed(SECRET, age=301), BODY)

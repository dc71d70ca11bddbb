"""How Salesforce knows us, and what its answers mean: tokens, error codes, the day's requests."""

import base64
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from dagster_project.api_settings import SalesforceSource
from dagster_project.extract.api import redaction
from dagster_project.extract.api.api_errors import CredentialRefused, Malformed, Place
from dagster_project.extract.api.dialect import Dialect, Kind, Quota, Verdict, retry_after
from dagster_project.extract.api.exchange import Reply, Request
from dagster_project.extract.api.http import Client

TOKEN = "/services/oauth2/token"
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_JWT_LIFE = timedelta(minutes=3)
# "per-app-api-usage" may stand beside it.
_USAGE = re.compile(r"(?<![\w-])api-usage=(\d+)/(\d+)")
_CODES: dict[str, Kind] = {
    "INVALID_SESSION_ID": Kind.UNAUTHORIZED,
    "INVALID_TYPE": Kind.ABSENT,
    "INVALID_QUERY_LOCATOR": Kind.ABSENT,
    "QUERY_TIMEOUT": Kind.RETRY,
    "SERVER_UNAVAILABLE": Kind.RETRY,
    "UNSUPPORTED_API_VERSION": Kind.RETIRED,
    "REQUESTED_RESOURCE_RETIRED": Kind.RETIRED,
}


class SalesforceDialect(Dialect):
    """One org and one way in: client credentials, or a JWT signed with the private key."""

    title = "Salesforce"

    def __init__(self, source: SalesforceSource) -> None:
        self._source = source
        self._login_url = source.base_url.rstrip("/")

    def credentials(self, client: Client) -> Mapping[str, str]:
        """A token, and from then on the address that Salesforce names for this org.

        Errors: CredentialRefused, also for an answer without a token or with an address that is not https.
        """
        client.move_to(self._login_url)
        request = Request(TOKEN, "login", method="POST", form=self._form(client), needs_credentials=False)
        answer = client.json(request)
        try:
            token = str(answer["access_token"])
            # The debug log of the transport may show it before the first use does.
            redaction.SECRETS.add(token)
            client.move_to(str(answer["instance_url"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CredentialRefused(
                Place(client.account, "login", "1"),
                f"the answer to the login cannot be used ({type(error).__name__}: {error})",
                "look whether `base_url:` is the org's My Domain",
            ) from None
        return {"Authorization": f"Bearer {token}"}

    def judge(self, reply: Reply) -> Verdict:
        """Salesforce names most errors by a code in the body; its daily limit is a 403."""
        status = reply.status
        if 200 <= status < 300:
            return Verdict(Kind.GOOD)
        if reply.request.path == TOKEN and status in (400, 401, 403):
            return Verdict(Kind.UNAUTHORIZED, self.reason(reply))
        code = _code(reply)
        if code == "REQUEST_LIMIT_EXCEEDED":
            # The same code stands for too many long requests at once, which passes.
            is_concurrent = "concurrent" in self.reason(reply).lower()
            return Verdict(Kind.RETRY if is_concurrent else Kind.QUOTA, self.reason(reply))
        if code in _CODES:
            return Verdict(_CODES[code], self.reason(reply), retry_after(reply))
        if status == 410:
            return Verdict(Kind.RETIRED, self.reason(reply))
        if status == 406:
            return Verdict(Kind.RETRY, self.reason(reply))
        return super().judge(reply)

    def day_began(self, now: datetime) -> datetime:
        """The allowance is that of the last 24 hours, at any instant."""
        return now - timedelta(hours=24)

    def quota(self, reply: Reply) -> Quota | None:
        """What the whole org has asked in the last 24 hours, of how much."""
        found = _USAGE.search(reply.headers.get("Sforce-Limit-Info", ""))
        return Quota(int(found[1]), int(found[2])) if found else None

    def envelope(self, value: Any, reply: Reply) -> Any:
        """An answer that is a list of errors came with a good status by mistake of something between us."""
        if isinstance(value, list) and value and isinstance(value[0], dict) and "errorCode" in value[0]:
            raise Malformed(f"an error in a good answer: {value[0]['errorCode']}")
        return value

    def remedy(self, kind: Kind, entity: str) -> str:
        """What an administrator of the org does about it."""
        right = f"give the user of the external client app the right to read {entity} (permission set)"
        return {
            Kind.UNAUTHORIZED: "check client id and secret (or private key and username) in the variables "
            "that pipeline.yaml names, and that the external client app allows this way of login",
            Kind.FORBIDDEN: right,
            Kind.ABSENT: f"the org has no such object, or hides it: {right}",
        }.get(kind) or super().remedy(kind, entity)

    def reason(self, reply: Reply) -> str:
        """Code and words of the first error."""
        try:
            body = json.loads(reply.body)
        except ValueError:
            return ""
        first = body[0] if isinstance(body, list) and body else body
        if not isinstance(first, dict):
            return ""
        code = first.get("errorCode") or first.get("error") or ""
        words = first.get("message") or first.get("error_description") or ""
        return ": ".join(str(part) for part in (code, words) if part)[:200]

    def _form(self, client: Client) -> dict[str, str]:
        source = self._source
        if source.client_secret is not None:
            return {
                "grant_type": "client_credentials",
                "client_id": source.client_id.get_secret_value(),
                "client_secret": source.client_secret.get_secret_value(),
            }
        if not client.knows_server_time:
            # A JWT lives three minutes by the org's clock, and this machine's may be wrong.
            client.json(Request("/services/data", "clock", needs_credentials=False))
        return {"grant_type": _JWT_BEARER, "assertion": self._assertion(client)}

    def _assertion(self, client: Client) -> str:
        source = self._source
        assert source.private_key is not None
        host = urlsplit(source.base_url).hostname or ""
        login = "test" if ".sandbox." in host else "login"
        claims = {
            "iss": source.client_id.get_secret_value(),
            "sub": source.username,
            "aud": f"https://{login}.salesforce.com",
            "exp": int((client.server_now() + _JWT_LIFE).timestamp()),
        }
        return signed_jwt(claims, source.private_key.get_secret_value(), client.account)


def signed_jwt(claims: Mapping[str, Any], private_key: str, account: str) -> str:
    """A JWT (RFC 7519) signed with RS256. `private_key`: PEM, its line breaks perhaps written as \\n.

    Errors: CredentialRefused when the key cannot be used, or the library for it is missing.
    """
    place = Place(account, "login", "1")
    try:
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
    except ImportError:
        raise CredentialRefused(
            place,
            "signing with a private key needs the package cryptography",
            "install the extra `salesforce` of pyproject.toml, or use client_secret",
        ) from None
    try:
        key = serialization.load_pem_private_key(private_key.replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise CredentialRefused(
            place,
            "the private key is no RSA key in PEM without a password",
            "put the whole text from -----BEGIN to END----- into the variable of private_key",
        )
    parts = (json.dumps({"alg": "RS256", "typ": "JWT"}), json.dumps(dict(claims)))
    text = ".".join(_base64url(part.encode()) for part in parts)
    return f"{text}.{_base64url(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _code(reply: Reply) -> str:
    try:
        body = json.loads(reply.body)
    except ValueError:
        return ""
    first = body[0] if isinstance(body, list) and body else body
    return str(first.get("errorCode", "")) if isinstance(first, dict) else ""

"""Keys that verify tokens: a JWK set (RFC 7517) in a file or at an https address."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import httpx
import jwt
import structlog
import trio
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from p2p.errors import ConfigError
from p2p.net.file_watch import FileWatch

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

MAX_SET_BYTES: Final = 1 << 20
MAX_KEYS: Final = 100
RSA_BITS: Final = 2048

FETCH_PAUSE: Final = 30.0
"""Seconds between two fetches at least: strangers can name unknown keys as often as they like."""
FETCH_TIMEOUT: Final = 5.0
MAX_AGE: Final = 3600.0
"""Seconds after which a set is fetched again when a key is asked for, so that withdrawn keys go."""

_ACCEPT: Final = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}

log = structlog.get_logger(__name__)

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key and the one algorithm that it is used with.

    The algorithm is the key's and never the token's, so that a token can't make a public key serve as the
    secret of a MAC.
    """

    algorithm: str
    key: PublicKey


class Keys(Protocol):
    """Where keys come from."""

    async def find(self, kid: str | None) -> VerificationKey | None:
        """Give the key with this id; without one the only key there is. None where there is none."""
        ...


def parse_keys(data: bytes, source: str) -> dict[str, VerificationKey]:
    """Read a JWK set: keys by id (``#`` and a number for none). Raises ConfigError where it is not one.

    What can't verify a token here is left out: symmetric and encryption keys, other curves and algorithms,
    RSA below 2048 bits. The set of an issuer holds keys for others too.
    """
    mend = 'Give a JWK set: {"keys": [...]} with RSA, P-256 or Ed25519 keys'
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(source, "is not JSON", mend) from error
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise ConfigError(source, f"is not a JWK set of at most {MAX_KEYS} keys", mend)
    keys: dict[str, VerificationKey] = {}
    for entry in entries:
        key = _verification_key(entry) if isinstance(entry, dict) else None
        if key is not None:
            kid = entry.get("kid")
            keys.setdefault(kid if isinstance(kid, str) and kid else f"#{len(keys)}", key)
    return keys


def _verification_key(entry: Mapping[str, Any]) -> VerificationKey | None:
    algorithm = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}.get(str(entry.get("kty")))
    if algorithm is None or entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig":
        return None
    # Never the private parts, should somebody have published them.
    public = {name: entry[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in entry}
    try:
        key = jwt.PyJWK.from_dict(public, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    match key:
        case RSAPublicKey() if key.key_size >= RSA_BITS:
            return VerificationKey(algorithm, key)
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return VerificationKey(algorithm, key)
        case Ed25519PublicKey():
            return VerificationKey(algorithm, key)
        case _:
            return None


def pick(keys: Mapping[str, VerificationKey], kid: str | None) -> VerificationKey | None:
    """Give the key with this id, or the only one where the token names none."""
    if kid is None:
        return next(iter(keys.values())) if len(keys) == 1 else None
    return keys.get(kid)


class FileKeys:
    """A JWK set in a file, read again when it changes; one that can't be used then leaves the old keys."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._watch = FileWatch(path)
        self._watch.changed()
        self._keys = self._read()

    async def find(self, kid: str | None) -> VerificationKey | None:
        """Look it up."""
        if self._watch.changed():
            try:
                self._keys = self._read()
            except ConfigError as error:
                log.warning("keys not reloaded: those before stay in force", cause=str(error))
            else:
                log.info("keys reloaded", file=str(self._path), keys=len(self._keys))
        return pick(self._keys, kid)

    def _read(self) -> dict[str, VerificationKey]:
        source = f"auth.jwks {self._path}"
        try:
            data = self._path.read_bytes()
        except OSError as error:
            raise ConfigError(source, f"can't be read: {error}", "Give a file or an https:// URL") from error
        keys = parse_keys(data, source)
        if not keys:
            raise ConfigError(source, "holds no key that can verify tokens", "Use RSA, P-256 or Ed25519 keys")
        return keys


class UrlKeys:
    """A JWK set at an https address: fetched by ``load``, and when a key is unknown or the set is old.

    ``tls`` decides whom to trust. A fetch that fails leaves the old keys and a log line: the issuer may be
    down while its tokens are good. Redirects are not followed. ``aclose`` ends it.
    """

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        if not url.startswith("https://"):
            raise ConfigError("auth.jwks", f"{url!r} is not an https URL", "Keys must come over TLS")
        self._url = url
        self._client = httpx.AsyncClient(
            verify=tls,
            timeout=FETCH_TIMEOUT,
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
            headers=_ACCEPT,
        )
        self._keys: dict[str, VerificationKey] = {}
        self._asked: float | None = None
        self._lock = trio.Lock()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def load(self) -> None:
        """Fetch the set now."""
        async with self._lock:
            await self._fetch()

    async def find(self, kid: str | None) -> VerificationKey | None:
        """Look it up, here and then, if that may help and is not too soon, at the issuer."""
        found = pick(self._keys, kid)
        if not self._due(found):
            return found
        async with self._lock:
            if self._due(pick(self._keys, kid)):
                await self._fetch()
        return pick(self._keys, kid)

    def _due(self, found: VerificationKey | None) -> bool:
        if self._asked is None:
            return True
        age = trio.current_time() - self._asked
        return age >= (FETCH_PAUSE if found is None else MAX_AGE)

    async def _fetch(self) -> None:
        self._asked = trio.current_time()
        try:
            with trio.fail_after(FETCH_TIMEOUT):
                data = await self._download()
            self._keys = parse_keys(data, f"auth.jwks {self._url}")
        except (httpx.HTTPError, httpx.InvalidURL, trio.TooSlowError, ConfigError) as error:
            log.warning("keys not fetched: those before stay in force", url=self._url, cause=repr(error))

    async def _download(self) -> bytes:
        data = bytearray()
        async with self._client.stream("GET", self._url) as response:
            if response.status_code != 200:
                raise ConfigError(f"auth.jwks {self._url}", f"answers with {response.status_code}")
            # Read to its end, which ``fail_after`` bounds: httpx can't leave a body in the middle under trio.
            async for part in response.aiter_raw():
                if len(data) <= MAX_SET_BYTES:
                    data += part
        if len(data) > MAX_SET_BYTES:
            raise ConfigError(f"auth.jwks {self._url}", "is larger than any JWK set")
        return bytes(data)

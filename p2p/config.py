"""The configuration, as frozen values: parsed once at the root, and each part gets its own small one.

Sizes are bytes, times are seconds, addresses ``host:port`` (port 0: any free one).
"""

from __future__ import annotations

from msgspec import Struct

MIB = 1 << 20
GIB = 1 << 30


class ServerLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the HTTP server bears."""

    connections: int = 4096
    header_bytes: int = 32 * 1024
    header_timeout: float = 10.0
    idle_timeout: float = 75.0
    body_timeout: float = 30.0
    """Longest pause while a request's body is read or a response is taken by the client."""
    minimum_rate: int = 1024
    """Bytes a second that a client must take or give, averaged over ``body_timeout``."""
    drain_timeout: float = 10.0


class RegistrySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The /v2/ front end."""

    listen: str = "127.0.0.1:5000"
    default_upstream: str = "docker.io"
    allowed_hosts: tuple[str, ...] = ()
    """More ``Host`` names than localhost, loopback addresses and the listening address."""
    insecure: bool = False
    """Listen beyond loopback though clients aren't authenticated (a trusted network)."""
    manifest_bytes: int = 4 * MIB
    first_byte_timeout: float = 20.0
    limits: ServerLimits = ServerLimits()


class PluginSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part that another distribution brings."""

    name: str
    """Of its entry point."""
    options: tuple[str, ...] = ()
    """Each as ``key=value``; what they are is the part's affair."""


class PeerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The peer port and the peers known by configuration."""

    listen: str = "127.0.0.1:5001"
    insecure: bool = False
    """Listen beyond loopback though peers aren't authenticated (a trusted network)."""
    advertise: str = ""
    """Address that others are told; empty: the listening one."""
    static: tuple[str, ...] = ()
    sources: tuple[PluginSettings, ...] = ()
    """Of ``remora.providers``: further ways to learn of peers."""
    limits: ServerLimits = ServerLimits(idle_timeout=300.0)


class DhtSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The DHT: a way to find providers that needs no tracker. It runs where there is a cluster key."""

    enabled: bool = True
    """False: it does not run, key or not."""
    cluster_keys: tuple[str, ...] = ()
    """One, or two while they are changed: the first one seals, both open. Made by ``remora cluster key``."""
    cluster_key_file: str = ""
    """A file with one key a line, after those above."""
    open: bool = False
    """Without a key: run under one that everybody knows. Whoever reaches the port may take part."""
    listen: str = ""
    """UDP; empty: the peer address, with the same port number."""
    bootstrap: tuple[str, ...] = ()
    """``host:port`` of nodes; a name may have many addresses."""
    contacts: int = 1024
    """Nodes in the routing table at most."""


class MetricsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prometheus metrics, /healthz and /readyz."""

    listen: str = "127.0.0.1:5002"


class StoreSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content on disk."""

    quota: int = 0
    """0: no quota but the filesystem's."""
    minimum_free: float = 0.05
    """Share of the filesystem that stays free."""
    high_water: float = 0.95
    low_water: float = 0.85
    """Eviction begins at ``high_water`` of the quota and goes on to ``low_water``."""
    paranoid: bool = False
    """Hash every finished file once more."""
    driver: str = ""
    """The name of an entry point of ``remora.drivers``; empty: files in ``state``."""
    options: tuple[str, ...] = ()
    """Each as ``key=value``, for that."""


class UpstreamSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One upstream registry."""

    url: str
    aliases: tuple[str, ...] = ()
    """Further names for ``ns`` and path prefixes: ``localhost:5010`` needs one without a colon."""
    credential_key: str = ""
    """Key in the client's credential file; empty: the host of ``url``."""
    username: str = ""
    password: str = ""
    ca_file: str = ""
    library_prefix: bool = False
    """Put ``library/`` before names of one component (Docker Hub)."""
    private_addresses: bool = False
    """The upstream may resolve to a loopback or private address; implied where ``url`` names one."""
    token_hosts: tuple[str, ...] = ()
    """Hosts outside the upstream's own domain whose token realm is trusted."""
    streams: int = 4
    connect_timeout: float = 5.0
    read_timeout: float = 20.0


class TagRuleSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other tag settings for some repositories; what is left out is as for all."""

    repositories: tuple[str, ...]
    """Globs over upstream and path: ``docker.io/library/*``, ``ghcr.io/**``."""
    max_age: float | None = None
    stale_if_error: float | None = None
    from_peers: bool | None = None


class TagSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How tags of upstreams are believed."""

    max_age: float = 0.0
    """Seconds that a tag counts as fresh without asking; 0: HEAD the origin each time."""
    stale_if_error: float = 7 * 86400.0
    """Serve a tag confirmed within so many seconds when the origin can't answer; 0: never."""
    from_peers: bool = True
    """In that case also believe what other nodes of the cluster last saw."""
    rules: tuple[TagRuleSettings, ...] = ()
    """The first that matches a repository holds for it."""


class HostingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Repositories whose home is this node: what may be pushed, and when it goes."""

    repositories: tuple[str, ...] = ()
    """Globs over repository names (``team/**``, ``app``): what matches is hosted here and takes pushes."""
    content: str = ""
    """Where all front ends keep what is pushed: ``s3://bucket/prefix``, ``file:///mnt/x``; empty: here."""
    content_options: tuple[str, ...] = ()
    """Each as ``key=value``, for that. Secrets come from the environment."""
    push_through: tuple[str, ...] = ()
    """Globs over names of upstreams' repositories (``ghcr.io/org/**``): pushes are forwarded, and kept."""
    denied: tuple[str, ...] = ()
    """Globs over repository names, hosted or of upstreams, that are neither read nor written."""
    immutable_tags: tuple[str, ...] = ()
    """Globs over ``repository:tag`` (``team/**:v*``): such a tag, once there, is never moved or deleted."""
    deletes: bool = True
    """Whether tags, manifests and blobs can be deleted."""
    upload_expiry: float = 86400.0
    """An upload that nobody went on with for so long is dropped."""
    unreferenced_grace: float = 86400.0
    """How long a pushed or asked-for blob is kept that no manifest refers to yet."""
    collect_interval: float = 60.0
    """How often the review queue is looked at."""


class PrivateSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of upstreams that not everybody may read there."""

    shared: tuple[str, ...] = ()
    """Globs over upstream and path (``ghcr.io/org/**``): given to every client that may reach the node."""
    max_age: float = 300.0
    """Seconds that a repository counts as public, or as private, before the upstream is asked again."""


class TransferSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Swarms."""

    memory: int = 64 * MIB
    """Buffers of all chunks under way."""
    grace: float = 30.0
    """How long a download goes on after its last reader left."""
    stream: bool = True
    """Give verified chunks to clients before the whole blob is proven (the last one never is)."""
    peers: int = 30
    uploads: int = 64


class LimitSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bytes of content a second that the node sends and receives at most; 0: no limit."""

    up: int = 0
    """To peers. Clients of the registry are never limited."""
    down: int = 0
    """From peers and origins together."""
    origin: int = 0
    """From origins; a part of ``down``."""
    prefetch: int = 0
    """What nobody but a prefetch waits for; a part of ``down``."""


class RuleSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may do what with which repositories at the front end. Rules only grant."""

    repositories: tuple[str, ...]
    """Globs over names as clients give them: ``team-a/*``, ``team-a/**``, ``**``."""
    subjects: tuple[str, ...]
    """Users, ``@group``, ``authenticated`` (whoever logged in), ``anonymous`` (everybody)."""
    actions: tuple[str, ...] = ("pull",)
    """``pull``, ``push``, ``delete``, or ``*``."""


class AuthSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who clients of the front end are, and what they may do. Empty: everybody may do everything."""

    htpasswd: str = ""
    """File of users and bcrypt passwords."""
    jwks: str = ""
    """Keys that verify bearer tokens: a file, or an https URL."""
    jwks_ca_file: str = ""
    """Certificates that vouch for that URL; empty: the system's."""
    issuer: str = ""
    """What tokens have as ``iss``; required with ``jwks``."""
    audience: str = ""
    """What tokens have as ``aud``; empty: ``service``."""
    realm: str = ""
    """URL of the token service that clients are sent to; empty: tokens come another way."""
    service: str = "remora"
    """This registry's name in challenges."""
    authenticators: tuple[PluginSettings, ...] = ()
    """Of ``remora.authenticators``: asked after passwords and tokens, in this order."""
    groups: dict[str, tuple[str, ...]] = {}
    """Users by group, beside the ``groups`` that tokens name."""
    rules: tuple[RuleSettings, ...] = ()


class TlsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS of a listener: PEM files, read again when they change. Both or none."""

    cert_file: str = ""
    key_file: str = ""


class SinkSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One receiver of notifications. An empty filter lets everything pass."""

    kind: str = "webhook"
    """The name of an entry point of ``remora.sinks``."""
    url: str = ""
    format: str = "distribution"
    """``distribution``: its event envelope. ``cloudevents``: CloudEvents 1.0, structured."""
    headers: tuple[str, ...] = ()
    """Each as ``Name: value``, sent with every request."""
    secret: str = ""
    """Sign each body with HMAC-SHA256 under this key."""
    ca_file: str = ""
    timeout: float = 10.0
    batch: int = 50
    """At most so many events at once."""
    actions: tuple[str, ...] = ()
    """Of ``push``, ``pull``, ``mount``, ``delete``."""
    repositories: tuple[str, ...] = ()
    """Globs over repository names: ``team-a/*``, ``team-a/**``."""
    media_types: tuple[str, ...] = ()
    """Globs of the target's media type."""
    options: tuple[str, ...] = ()
    """Each as ``key=value``, for kinds that need more than the above."""


class NotificationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is told of pushes, pulls, mounts and deletes, and how long an event waits for that."""

    sinks: dict[str, SinkSettings] = {}
    max_events: int = 100_000
    """Events that are kept at most; the oldest go first, delivered or not."""
    max_age: float = 7 * 86400.0
    backoff: float = 1.0
    """Seconds until the first retry; doubled each time, up to ``backoff_limit``."""
    backoff_limit: float = 300.0


class ScrubSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The check of blobs at rest."""

    period: float = 7 * 86400.0
    """Seconds in which every blob is hashed anew once; 0: never."""
    share: float = 0.1
    """Part of the time that the disk is read for it at most, whatever the period says."""


class MetadataSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where tags, manifests and leases are kept."""

    url: str = ""
    """``postgresql://user@host/database``, shared by several front ends; empty: a file in ``state``."""
    kind: str = ""
    """The name of an entry point of ``remora.metadata``; empty: SQL, as ``url`` says."""
    options: tuple[str, ...] = ()
    """Each as ``key=value``, for that."""


class ExtensionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What other packages add to the front end."""

    without: tuple[str, ...] = ()
    """Names of installed extensions that are left out."""


class NodeSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that ``remora node`` can be told."""

    name: str = ""
    """Empty: the host's name."""
    state: str = "/var/lib/remora"
    tracker: tuple[str, ...] = ()
    """``ws://host:5010`` of each tracker, the same at every node; one may be given as a text."""
    zone: str = ""
    """Of this node: what is cheap to reach among itself. Letters, digits, ``.``, ``-``, ``_``."""
    rack: str = ""
    """Alike, within the zone: peers of the same rack are named first."""
    host: tuple[str, ...] = ()
    """OCI layout directories to serve as hosted repositories."""
    log_level: str = "info"
    log_format: str = "auto"
    """``json``, ``console``, or ``auto``: console on a terminal."""
    registry: RegistrySettings = RegistrySettings()
    peer: PeerSettings = PeerSettings()
    dht: DhtSettings = DhtSettings()
    metrics: MetricsSettings = MetricsSettings()
    store: StoreSettings = StoreSettings()
    tags: TagSettings = TagSettings()
    hosting: HostingSettings = HostingSettings()
    metadata: MetadataSettings = MetadataSettings()
    private: PrivateSettings = PrivateSettings()
    auth: AuthSettings = AuthSettings()
    tls: TlsSettings = TlsSettings()
    """Of the registry's port."""
    notifications: NotificationSettings = NotificationSettings()
    extensions: ExtensionSettings = ExtensionSettings()
    scrub: ScrubSettings = ScrubSettings()
    transfer: TransferSettings = TransferSettings()
    limits: LimitSettings = LimitSettings()
    upstreams: dict[str, UpstreamSettings] = {}
    """Added to the well-known ones; the same name replaces one."""


WELL_KNOWN: dict[str, UpstreamSettings] = {
    "docker.io": UpstreamSettings(
        url="https://registry-1.docker.io",
        aliases=("index.docker.io", "registry-1.docker.io"),
        credential_key="https://index.docker.io/v1/",
        library_prefix=True,
    ),
    "ghcr.io": UpstreamSettings(url="https://ghcr.io"),
    "quay.io": UpstreamSettings(url="https://quay.io"),
    "registry.k8s.io": UpstreamSettings(url="https://registry.k8s.io"),
    "gcr.io": UpstreamSettings(url="https://gcr.io"),
    "mcr.microsoft.com": UpstreamSettings(url="https://mcr.microsoft.com"),
    "public.ecr.aws": UpstreamSettings(url="https://public.ecr.aws"),
}
"""Upstreams that need no configuration. The list of upstreams is closed: a lookup, never a dial target."""

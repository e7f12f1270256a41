from p2p.core.oci.descriptor import Descriptor as Descriptor
from p2p.core.oci.descriptor import Platform as Platform
from p2p.core.oci.digest import Digest as Digest
from p2p.core.oci.error import RegistryError as RegistryError
from p2p.core.oci.reference import Reference as Reference
from p2p.errors import RemoraError as RemoraError
from p2p.toolkit.api import (
    BlobAdvanced as BlobAdvanced,
)
from p2p.toolkit.api import (
    BlobBegan as BlobBegan,
)
from p2p.toolkit.api import (
    Event as Event,
)
from p2p.toolkit.api import (
    Listener as Listener,
)
from p2p.toolkit.client import Client as Client
from p2p.toolkit.client import Credentials as Credentials
from p2p.toolkit.inspecting import ConfigSummary as ConfigSummary
from p2p.toolkit.inspecting import Inspected as Inspected
from p2p.toolkit.inspecting import Part as Part
from p2p.toolkit.pulling import Pulled as Pulled
from p2p.toolkit.pushing import Pushed as Pushed

__version__: str

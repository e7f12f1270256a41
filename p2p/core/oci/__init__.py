"""Values of the OCI specifications: digests, references, descriptors, manifests, routes, errors."""

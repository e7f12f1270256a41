from __future__ import annotations

from p2p.core.oci.digest import Digest
from p2p.store.catalog import Catalog, Growing, Uploading

ONE, TWO, THREE = (Digest.of(text) for text in (b"1", b"2", b"3"))


def test_the_order_of_use() -> None:
    catalog = Catalog()
    for digest in (ONE, TWO, THREE):
        catalog.put(digest, 10)
    assert catalog.find(ONE) is not None
    assert [blob.digest for blob in catalog.blobs()] == [TWO, THREE, ONE]
    assert [c.key for c in catalog.candidates()] == [TWO, THREE, ONE]


def test_sums() -> None:
    catalog = Catalog()
    catalog.put(ONE, 10)
    catalog.grow(TWO, Growing(100, 30, owned=True))
    catalog.grow(THREE, Growing(100, 20))
    assert catalog.blob_bytes == 10
    assert catalog.reserved() == 120
    assert catalog.outstanding() == 70
    catalog.put(TWO, 100)
    catalog.put(ONE, 11)
    assert catalog.blob_bytes == 111
    assert catalog.reserved() == 20
    assert catalog.outstanding() == 0
    for digest in (ONE, TWO, THREE, THREE):
        catalog.drop(digest)
    assert (catalog.blob_bytes, catalog.reserved()) == (0, 0)


def test_a_partial_blob_is_not_found_as_a_complete_one() -> None:
    catalog = Catalog()
    growing = Growing(100, 0)
    catalog.grow(ONE, growing)
    assert catalog.find(ONE) is None
    assert catalog.growing(ONE) is growing
    assert list(catalog.partials()) == [(ONE, growing)]
    catalog.put(ONE, 100)
    assert catalog.growing(ONE) is None
    assert list(catalog.partials()) == []


def test_what_is_pinned_or_owned_does_not_go() -> None:
    catalog = Catalog()
    catalog.pin(ONE, pinned=True)
    assert catalog.put(ONE, 10).pinned
    catalog.grow(TWO, Growing(100, 30, owned=True))
    catalog.grow(THREE, Growing(100, 30))
    assert [(c.key, c.size) for c in catalog.candidates()] == [(THREE, 30)]
    catalog.pin(THREE, pinned=True)
    assert list(catalog.candidates()) == []
    catalog.pin(ONE, pinned=False)
    assert [c.key for c in catalog.candidates()] == [ONE]
    found = catalog.find(ONE)
    assert found is not None
    assert not found.pinned


def test_uploads_count_and_never_go() -> None:
    catalog = Catalog()
    catalog.uploads["a"] = Uploading(8, 3, owned=True, session="a")
    catalog.uploads["b"] = Uploading(5, 5, session="b")
    assert (catalog.reserved(), catalog.outstanding()) == (13, 5)
    assert list(catalog.candidates()) == []
    assert list(catalog.partials()) == []
    assert catalog.uploads["a"].subject == "upload a"


def test_a_pin_is_known_before_its_blob() -> None:
    catalog = Catalog()
    assert not catalog.pinned(ONE)
    catalog.pin(ONE, pinned=True)
    assert catalog.pinned(ONE)


def test_a_look_is_no_use() -> None:
    catalog = Catalog()
    catalog.put(ONE, 1)
    catalog.put(TWO, 2)
    catalog.grow(THREE, Growing(10, 0))
    assert catalog.peek(ONE) is not None
    assert catalog.peek(THREE) is None
    assert [blob.digest for blob in catalog.blobs()] == [ONE, TWO]

"""Who owns a key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents import tenants
from documents.exceptions import InvalidKey
from documents.models import Tenant
from documents.tenants import InvalidTenant, KeyNotAllowed, OwnerMap

OWNERS = {"": "default", "acme/": "acme", "acme/labs/": "labs", "Zoë/": "zoe"}


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        ("a.txt", "default"), ("a/b/c.txt", "default"), ("acme", "default"), ("acme-labs/x", "default"),
        ("acme.txt", "default"), ("x/acme/y", "default"), ("acme/x", "acme"), ("acme/labs", "acme"),
        ("acme/labsx/y", "acme"), ("acme/labs/x", "labs"), ("acme/labs/deep/er/x", "labs"),
        # Some file systems cannot tell these from the tenant's own spelling.
        ("ACME/x", "acme"), ("Acme/Labs/x", "labs"), ("zoë/x", "zoe"), ("Zoe\u0308/x", "zoe"),
    ],
)  # fmt: skip
def test_a_key_belongs_to_the_longest_prefix_that_matches(key: str, owner: str) -> None:
    assert OwnerMap(lambda: OWNERS).owner(key) == owner


def test_without_any_tenant_the_default_one_owns_everything() -> None:
    assert OwnerMap(dict).owner("a/b") == "default"


@given(st.text("aAé/\u0301ß", max_size=12), st.sets(st.text("aAé\u0301ß", min_size=1, max_size=3), max_size=4))
def test_every_key_has_exactly_one_owner(key: str, names: set[str]) -> None:
    owners = {f"{name}/": name for name in names} | {"": "default"}
    owner = OwnerMap(lambda: owners).owner(key)
    claiming = {name for name in names if tenants.fold(key).startswith(tenants.fold(f"{name}/"))}
    assert owner in (claiming or {"default"})


def test_prefixes_are_read_again_after_some_seconds_and_not_before() -> None:
    # Given
    now, table = [0.0], {"": "default"}
    owners = OwnerMap(lambda: dict(table), clock=lambda: now[0])
    assert owners.owner("acme/x") == "default"
    # When a tenant appears
    table["acme/"] = "acme"
    now[0] = 4.9
    assert owners.owner("acme/x") == "default"
    now[0] = 5.1
    assert owners.owner("acme/x") == "acme"


@pytest.mark.django_db
@pytest.mark.both_databases
class TestMakingTenants:
    def test_a_new_tenant_gets_its_slug_as_prefix_and_owns_it_at_once(self) -> None:
        with pytest.raises(KeyNotAllowed):
            tenants.require_owned("acme", "acme/x")
        assert tenants.get_or_create("acme").key_prefix == "acme/"
        assert tenants.require_owned("acme", "acme/x") == "acme/x"
        with pytest.raises(KeyNotAllowed):
            tenants.require_owned("default", "acme/x")

    def test_the_same_tenant_is_found_again(self) -> None:
        first = tenants.get_or_create("acme", key_prefix="in/acme")
        assert first.key_prefix == "in/acme/"
        assert tenants.get_or_create("acme") == tenants.get_or_create("acme", key_prefix="in/acme/") == first
        assert Tenant.objects.count() == 1

    def test_the_default_tenant_owns_the_root(self) -> None:
        assert tenants.get_or_create("default").key_prefix == ""
        with pytest.raises(InvalidTenant):
            tenants.get_or_create("default", key_prefix="x/")

    @pytest.mark.parametrize("slug", ["", "A", "a b", "a/b", "-a", "a" * 65, "ä", ".."])
    def test_an_unusable_name_is_refused(self, slug: str) -> None:
        with pytest.raises(InvalidTenant):
            tenants.get_or_create(slug)

    @pytest.mark.parametrize("prefix", ["", "/", "../x", "/abs", "a//b", "a\\b", "a\x00"])
    def test_an_unusable_prefix_is_refused(self, prefix: str) -> None:
        with pytest.raises(InvalidTenant):
            tenants.get_or_create("acme", key_prefix=prefix)

    @pytest.mark.parametrize("prefix", ["shared/", "shared", "SHARED/"])
    def test_a_prefix_that_is_taken_is_refused(self, prefix: str) -> None:
        tenants.get_or_create("one", key_prefix="shared/")
        with pytest.raises(InvalidTenant, match="belongs to another tenant"):
            tenants.get_or_create("two", key_prefix=prefix)

    def test_a_tenant_does_not_move(self) -> None:
        tenants.get_or_create("acme")
        with pytest.raises(InvalidTenant, match="exists with the key prefix"):
            tenants.get_or_create("acme", key_prefix="elsewhere/")

    def test_a_key_that_is_no_plain_path_is_invalid_before_anyone_asks_whose_it_is(self) -> None:
        with pytest.raises(InvalidKey):
            tenants.require_owned("default", "a/../b")

"""What StackAdapt's schema lets one change: each mutation checks, asks the store and answers at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from sandbox.base import Clock
from sandbox.stackadapt_access import Advertisers, Forbidden, Rejected, StackAdaptSwitches, advertiser_json
from sandbox.stackadapt_queries import iso
from sandbox.stackadapt_store import FieldMapping, ProfileList, ProfileStore, Row, clean_email, is_email

Given = Mapping[str, Any]
Payload = dict[str, Any]
MAX_DELETED_EMAILS: Final = 100
"""Emails in one `deleteRawProfiles` (schema text)."""


class Mutations:
    """The fields of `Mutation`. `fields` is what GraphQL resolves them on."""

    def __init__(
        self, store: ProfileStore, advertisers: Advertisers, switches: Callable[[], StackAdaptSwitches], clock: Clock
    ) -> None:
        self._store = store
        self._advertisers = advertisers
        self._switches = switches
        self._clock = clock
        mutations: dict[str, Callable[[Given], Payload]] = {
            "upsertProfileMapping": self._upsert_profile_mapping,
            "appendProfileMapping": self._append_profile_mapping,
            "upsertProfiles": self._upsert_profiles,
            "upsertExternalAudienceMapping": self._upsert_audience_mapping,
            "deleteProfilesWithExternalIds": self._delete_external_ids,
            "deleteRawProfile": self._delete_raw_profile,
            "deleteRawProfiles": self._delete_raw_profiles,
            "createProfileList": self._create_list,
            "updateProfileList": self._update_list,
            "deleteProfileList": self._delete_list,
            "updateProfileListProfiles": self._update_list_profiles,
            "createUserUploadedProfilesWithJson": self._upload,
        }
        self.fields: Mapping[str, Callable[..., Payload]] = {
            name: self._resolver(take) for name, take in mutations.items()
        }

    def _resolver(self, take: Callable[[Given], Payload]) -> Callable[..., Payload]:
        """Turns what is rejected into `userErrors`, or what is forbidden into an error where the switch says so."""

        def resolve(_info: object, **arguments: Given) -> Payload:
            given = arguments["input"]
            answer: Payload = {"clientMutationId": given.get("clientMutationId"), "userErrors": []}
            try:
                return answer | take(given)
            except Rejected as refused:
                if isinstance(refused, Forbidden) and self._switches().forbidden_as != "user_errors":
                    raise
                return answer | {"userErrors": [_user_error(str(refused), *refused.path)]}

        return resolve

    # ── Mappings and profiles ────────────────────────────────────────────────────────────────────

    def _upsert_profile_mapping(self, given: Given) -> Payload:
        return self._map_profiles(given, append=False)

    def _append_profile_mapping(self, given: Given) -> Payload:
        return self._map_profiles(given, append=True)

    def _map_profiles(self, given: Given, *, append: bool) -> Payload:
        mapping = self._mapping(given, "mappingSchemaV2")
        mapping.opted_in = bool(given.get("isOptedIn"))
        self._store.map_profiles(mapping, append=append)
        return {"profileMapping": self._mapping_json(mapping)}

    def _upsert_audience_mapping(self, given: Given) -> Payload:
        mapping = self._mapping(given, "mappingSchema")
        self._store.map_audiences(mapping)
        return {"externalAudienceMapping": self._mapping_json(mapping)}

    def _mapping(self, given: Given, member: str) -> FieldMapping:
        advertiser = self._advertisers.writable(given)
        provider = self._provider(given, "mappableType")
        if not given.get(member):
            raise Rejected("Mapping schema can't be blank", member)
        return FieldMapping(self._store.new_id(), advertiser, provider, [dict(each) for each in given[member]])

    @staticmethod
    def _mapping_json(mapping: FieldMapping) -> Payload:
        return {
            "id": mapping.id,
            "advertiser": advertiser_json(mapping.advertiser),
            "mappableId": mapping.id,
            "mappableType": mapping.type,
            "mappingSchema": mapping.schema,
            "name": None,
        }

    def _upsert_profiles(self, given: Given) -> Payload:
        advertiser = self._advertisers.writable(given)
        provider = self._provider(given, "externalProvider")
        rows = self._rows(given["profiles"])
        invalid = self._invalid(rows)
        valid = [row for place, row in enumerate(rows) if place not in invalid]
        self._store.upsert(advertiser, provider, valid, given.get("syncId"))
        return _named("Email is invalid", "profiles", invalid, "email")

    def _invalid(self, rows: Sequence[Row]) -> list[int]:
        """The places of rows without a valid email, where they are told."""
        told = self._switches().invalid_rows
        invalid = [place for place, row in enumerate(rows) if not is_email(clean_email(row.get("email")))]
        if invalid and told == "unnamed":
            raise Rejected("Email is invalid", "profiles")
        return invalid if told == "named" else []

    def _rows(self, profiles: object) -> list[Row]:
        """A string that holds a JSON array of flat objects; a list only where the switch says so."""
        if isinstance(profiles, str):
            try:
                profiles = msgspec.json.decode(profiles)
            except msgspec.DecodeError as malformed:
                raise Rejected("Profiles is not valid JSON", "profiles") from malformed
        elif not self._switches().accept_profile_list:
            raise Rejected("Profiles must be a string that holds a JSON array", "profiles")
        rows = _flat(profiles)
        limit = self._switches().max_profiles
        if limit is not None and len(rows) > limit:
            raise Rejected(f"Too many profiles (maximum is {limit})", "profiles")
        return rows

    def _upload(self, given: Given) -> Payload:
        advertiser = self._advertisers.writable(given)
        schema = [dict(each) for each in given["mappingSchema"]]
        mapping = FieldMapping(self._store.new_id(), advertiser, "user_uploaded", schema)
        mapping.opted_in = given.get("profileOwnedStatus") == "OPTED_IN"
        self._store.upload(mapping, _flat(given["profiles"]), self._upload_target(advertiser, given))
        return {"mappableId": mapping.id, "userUploadedProfiles": {"id": mapping.id}}

    def _upload_target(self, advertiser: str, given: Given) -> ProfileList | None:
        if given.get("profileListId") is not None:
            return self._list(given["profileListId"], advertiser, "profileListId")
        if given.get("profileListName"):
            return self._new_list(advertiser, given["profileListName"])
        return None

    # ── Deletion ─────────────────────────────────────────────────────────────────────────────────

    def _delete_external_ids(self, given: Given) -> Payload:
        self._provider(given, "externalProvider")
        advertisers = given.get("advertiserIds") or []
        for advertiser in advertisers:
            self._advertisers.writable({"advertiserId": advertiser})
        unknown = self._unknown(self._store.unknown_external_ids(advertisers, given["externalIds"]))
        self._store.delete_external_ids(advertisers, given["externalIds"])
        return _named("Profile not found", "externalIds", unknown)

    def _delete_raw_profile(self, given: Given) -> Payload:
        return self._delete_emails(given, [given["email"]])

    def _delete_raw_profiles(self, given: Given) -> Payload:
        if len(given["emails"]) > MAX_DELETED_EMAILS:
            raise Rejected(f"Emails is too long (maximum is {MAX_DELETED_EMAILS})", "emails")
        return self._delete_emails(given, given["emails"])

    def _delete_emails(self, given: Given, emails: Sequence[str]) -> Payload:
        advertiser = self._advertisers.writable(given)
        unknown = self._unknown(self._store.unknown_emails(advertiser, emails))
        self._store.delete_emails(advertiser, emails, block=bool(given.get("isComplianceRequest")))
        return _named("Profile not found", "emails", unknown)

    def _unknown(self, places: list[int]) -> list[int]:
        """Those that are told by their place. Without places, nobody is deleted."""
        told = self._switches().unknown_profiles
        if places and told == "unnamed":
            raise Rejected("Profile not found")
        return places if told == "named" else []

    # ── Profile lists ────────────────────────────────────────────────────────────────────────────

    def _create_list(self, given: Given) -> Payload:
        advertiser = self._advertisers.writable(given)
        if not given.get("name"):
            raise Rejected("Name can't be blank", "name")
        return {"profileList": self._list_json(self._new_list(advertiser, given["name"]))}

    def _new_list(self, advertiser: str, name: str) -> ProfileList:
        now = self._clock()
        created = ProfileList(self._store.new_id(), advertiser, name, created_at=now, updated_at=now)
        self._store.lists[created.id] = created
        return created

    def _update_list(self, given: Given) -> Payload:
        profile_list = self._list(given.get("id") or "", None, "id")
        self._advertisers.writable({"advertiserId": profile_list.advertiser})
        profile_list.name = given.get("name") or profile_list.name
        profile_list.updated_at = self._clock()
        return {"profileList": self._list_json(profile_list)}

    def _delete_list(self, given: Given) -> Payload:
        profile_list = self._list(given["id"], None, "id")
        self._advertisers.writable({"advertiserId": profile_list.advertiser})
        del self._store.lists[profile_list.id]
        return {}

    def _update_list_profiles(self, given: Given) -> Payload:
        advertiser = self._advertisers.writable(given)
        lists = [self._list(each, advertiser, "ids") for each in given["ids"]]
        added = _valid_emails(given.get("addProfilesRawEmail"), "addProfilesRawEmail")
        removed = _valid_emails(given.get("removeProfilesRawEmail"), "removeProfilesRawEmail")
        for profile_list in lists:
            profile_list.emails |= dict.fromkeys(added)
            profile_list.emails = {each: None for each in profile_list.emails if each not in removed}
            profile_list.updated_at = self._clock()
        return {}

    def _list(self, list_id: str, advertiser: str | None, member: str) -> ProfileList:
        found = self._store.lists.get(list_id)
        if found is None or advertiser not in {None, found.advertiser}:
            raise Rejected("Profile list not found", member)
        return found

    @staticmethod
    def _list_json(profile_list: ProfileList) -> Payload:
        return {
            "id": profile_list.id,
            "name": profile_list.name,
            "advertiser": advertiser_json(profile_list.advertiser),
            "size": str(len(profile_list.emails)),
            "createdAt": iso(profile_list.created_at),
            "updatedAt": iso(profile_list.updated_at),
        }

    def _provider(self, given: Given, member: str) -> str:
        provider: str = given.get(member) or ""
        known = self._switches().providers
        if not provider or (known is not None and provider not in known):
            raise Rejected(f"{member} is not known", member)
        return provider


def _named(message: str, within: str, places: Sequence[int], *inside: str) -> Payload:
    return {"userErrors": [_user_error(message, "input", within, str(place), *inside) for place in places]}


def _user_error(message: str, *path: str) -> Payload:
    return {"message": message, "path": list(path)}


def _flat(profiles: object) -> list[Row]:
    """A list of objects. Values that are no scalars would not fit a property, but the vendor says nothing of it."""
    if not isinstance(profiles, list) or not all(isinstance(each, dict) for each in profiles):
        raise Rejected("Profiles must be an array of flat objects", "profiles")
    return profiles


def _valid_emails(emails: Sequence[str] | None, member: str) -> list[str]:
    cleaned = [clean_email(each) for each in emails or ()]
    if not all(is_email(each) for each in cleaned):
        raise Rejected("Email is invalid", member)
    return cleaned

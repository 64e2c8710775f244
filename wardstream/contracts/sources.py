"""Who sends, whose ids each sender uses and where it is: schemas/sources.yaml, and the form in which ids are compared.

A business key is an id together with the authority that assigned it. Ids are compared without the white space around
them (every character of Unicode's property White_Space); where the authority says so, also without regard to the case
of the letters A to Z. History keeps what was sent beside what is compared. The days of what a source sends are those of
its facility.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from wardstream.contracts.yaml_text import load_yaml
from wardstream.timezones import iana_zone

SOURCES_FILE = "sources.yaml"
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""Every character that has Unicode's property White_Space (PropList.txt)."""
CAPITALS, SMALL = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
_TO_SMALL = str.maketrans(CAPITALS, SMALL)
LONGEST_NAME = 200
"""Letters of an authority, a source or a facility."""


class SourcesError(ValueError):
    """schemas/sources.yaml is not what it should be; the message names the file and what to change."""


def _a_name(name: str) -> str:
    if not name or name != name.strip(WHITE_SPACE) or len(name) > LONGEST_NAME or "\0" in name:
        raise ValueError(f"1 to {LONGEST_NAME} characters, no white space around them")
    return name


Name = Annotated[str, AfterValidator(_a_name)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """What is said of one source."""

    authority: Name | None = None
    facility: Name | None = None
    historical: bool = False


class Authority(_Strict):
    """What is said of one authority."""

    ignore_case: bool = False


class Facility(_Strict):
    """What is said of one facility."""

    timezone: Annotated[str, AfterValidator(iana_zone)]


class Sources(_Strict):
    """The file as an object. Without a file every source is its own authority, and there is one facility."""

    default_authority: Name = "hospital"
    default_facility: Name = "main"
    sources: Mapping[Name, Source] = {}
    authorities: Mapping[Name, Authority] = {}
    facilities: Mapping[Name, Facility] = {}

    @model_validator(mode="after")
    def _facilities_are_known(self) -> Self:
        if self.default_facility in self.facilities:
            raise ValueError(
                f"facilities.{self.default_facility}: the zone of the default facility is WARDSTREAM_FACILITY_TIMEZONE"
            )
        for name, source in self.sources.items():
            if self.facility_of(name) not in {self.default_facility, *self.facilities}:
                raise ValueError(f"sources.{name}.facility: {source.facility} is not among facilities, with its zone")
        return self

    def authority_of(self, source: str) -> str:
        """Whose ids a source uses."""
        name = source.strip(WHITE_SPACE)
        listed = self.sources.get(name)
        return name if listed is None else listed.authority or self.default_authority

    def facility_of(self, source: str) -> str:
        """Where a source is."""
        listed = self.sources.get(source.strip(WHITE_SPACE))
        return self.default_facility if listed is None else listed.facility or self.default_facility

    def zones(self, default: str) -> dict[str, str]:
        """Zone by facility, the default facility first; `default` is the setting for that one."""
        return {self.default_facility: default, **{name: said.timezone for name, said in self.facilities.items()}}

    def is_historical(self, source: str) -> bool:
        """Whether recorded_at of this source may lie ahead of the broker's clock."""
        listed = self.sources.get(source.strip(WHITE_SPACE))
        return listed is not None and listed.historical

    def ignores_case(self, authority: str) -> bool:
        """Whether small and capital letters of its ids count alike."""
        return authority in self._ignoring_case

    def compared(self, authority: str, identifier: str) -> str:
        """An id of this authority in the form in which ids are compared."""
        bare = identifier.strip(WHITE_SPACE)
        return bare.translate(_TO_SMALL) if authority in self._ignoring_case else bare

    @cached_property
    def _ignoring_case(self) -> frozenset[str]:
        return frozenset(name for name, said in self.authorities.items() if said.ignore_case)


def load_sources(schemas_dir: Path) -> Sources:
    """schemas/sources.yaml; SourcesError says what is wrong with it."""
    file = schemas_dir / SOURCES_FILE
    if not file.exists():
        return Sources()
    try:
        return Sources.model_validate(load_yaml(file.read_text(encoding="utf-8")) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SourcesError(f"{file}: cannot be read as YAML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise SourcesError(f"{file}: {faults}") from None

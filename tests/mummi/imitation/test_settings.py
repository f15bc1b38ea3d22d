"""Settings that nothing reads are refused by name."""

import dataclasses

import pytest

from mummi.imitation.heads.head import HEADS
from mummi.imitation.settings import only, require_read


@dataclasses.dataclass(frozen=True)
class Settings:
    kind: str = "round"
    radius: float = only("kind", "round", default=1.0)
    corners: int = only("kind", "square", "star", default=4)


def test_a_setting_is_refused_where_nothing_reads_it():
    require_read(Settings(), ["kind", "radius"])
    require_read(Settings("star"), ["corners"])
    with pytest.raises(ValueError, match=r"corners is read where kind is square or star.*is round"):
        require_read(Settings(), ["corners"])
    with pytest.raises(ValueError, match=r"radius is read where kind is round, and.*it is star"):
        require_read(Settings("star"), ["radius"])


@pytest.mark.parametrize("name", HEADS)
def test_what_a_heads_settings_depend_on_is_there_and_can_be_so(name):
    settings = HEADS[name].default()
    for field in dataclasses.fields(settings):
        setting, values = field.metadata.get("only", ("", ()))
        for value in values:
            require_read(dataclasses.replace(settings, **{setting: value}), [field.name])

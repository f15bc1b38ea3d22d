"""How data are read: which demonstrations and sensors, under which names and in which units."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Literal

from mummi.runs.names import closest

DepthUnit = Literal["auto", "millimetres", "metres", "buffer", "unit"]


@dataclasses.dataclass(frozen=True)
class Reading:
    """What is read of data, in flags.

    Attributes:
        obs: sensors to read, by the names that --rename leaves; by default all of them, and for a
            task those that it has.
        rename: names of sensors, file=task, for example agentview_image=rgb.
        filter_key: take only the demonstrations that mask/KEY of the file lists.
        failed: keep or drop demonstrations whose attribute success is false; by default files of
            IsaacLab drop them and all others keep them.
        depth: what numbers of depth mean: millimetres, metres, a depth buffer (brought from its
            limits in the data to [0, 1]), or a unit in [-1, 1] that is left as it is. By default
            their limits tell: above 100 they are millimetres, above 1 metres, from 0.9 to 1 a
            buffer.
        obs_after_action: each observation of the data was recorded after the action of its index,
            as in LIBERO's official files: it is read with the next one, and the first action and
            the last observation are left out.
    """

    obs: tuple[str, ...] | None = None
    rename: tuple[str, ...] = ()
    filter_key: str = ""
    failed: Literal["keep", "drop"] | None = None
    depth: DepthUnit = "auto"
    obs_after_action: bool = False

    def __post_init__(self):
        pairs = [word.partition("=")[::2] for word in self.rename]
        for word, pair in zip(self.rename, pairs, strict=True):
            if not all(pair):
                raise ValueError(f"--rename {word!r} must be FILE=TASK, for example front_rgb=rgb")
        for side, names in zip(("file", "task"), zip(*pairs, strict=True), strict=False):
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"--rename has the {side}'s name {twice[0]!r} twice")

    def choose(self, names: Sequence[str], where: str, aside: Sequence[str] = ()) -> dict[str, str]:
        """The sensors to read: their name here, and their name in the data.

        Args:
            names: of the sensors in the data, in their order.
            where: the data, for messages.
            aside: those that are read only where they are named.

        Raises:
            ValueError: --rename or --obs names what the data lack, or two sensors have one name.
        """
        renamed = dict(word.split("=", 1) for word in self.rename)
        for name in renamed:
            if name not in names:
                raise ValueError(
                    f"{where}: --rename names {name!r}, which is no sensor of these data; they "
                    f"have {', '.join(names)}{closest(name, names)}"
                )
        known: dict[str, str] = {}
        for source in names:
            name = renamed.get(source, source)
            if name in known:
                raise ValueError(
                    f"{where}: --rename gives {known[name]!r} and {source!r} one name, {name!r}"
                )
            known[name] = source
        if self.obs is None:
            return {
                name: source
                for name, source in known.items()
                if source not in aside or source in renamed
            }
        for name in self.obs:
            if name not in known:
                raise ValueError(
                    f"{where}: unknown modality {name!r}; the observations are "
                    f"{', '.join(known)}{closest(name, known)} (--rename FILE=TASK renames one)"
                )
        return {name: known[name] for name in self.obs}

    def successful(self, success: Mapping[str, bool | None], where: str) -> tuple[str, ...]:
        """The demonstrations that did not fail, and a warning that counts the others.

        Args:
            success: of each demonstration by name, None where it does not tell.
            where: the data, for messages.

        Raises:
            ValueError: all failed, or ``failed`` is drop and none tells its success.
        """
        if self.failed == "drop" and all(found is None for found in success.values()):
            raise ValueError(
                f"{where}: --failed drop needs demonstrations that tell their success (in HDF5 "
                "the attribute 'success', of LeRobot the feature 'next.success'), and none does; "
                "leave the flag out"
            )
        kept = tuple(name for name, found in success.items() if found is None or found)
        left = len(success) - len(kept)
        if not kept:
            raise ValueError(
                f"{where}: all {left} demonstrations failed (success is false); --failed keep "
                "takes them"
            )
        if left:
            warnings.warn(
                f"{where}: {left} of {len(success)} demonstrations failed and are left out; "
                "--failed keep takes them",
                stacklevel=5,
            )
        return kept

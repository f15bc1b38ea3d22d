"""The fifty tasks of MetaWorld: what is to be done, and how hard it is found."""

TASKS = {
    "assembly": "pick up the nut and place it onto the peg",
    "basketball": "dunk the basketball into the basket",
    "bin-picking": "pick the puck out of one bin and place it into the other",
    "box-close": "grasp the cover and close the box with it",
    "button-press": "press the button",
    "button-press-topdown": "press the button from the top",
    "button-press-topdown-wall": "bypass the wall and press the button from the top",
    "button-press-wall": "bypass the wall and press the button",
    "coffee-button": "push the button of the coffee machine",
    "coffee-pull": "pull the mug away from the coffee machine",
    "coffee-push": "push the mug under the coffee machine",
    "dial-turn": "turn the dial",
    "disassemble": "take the nut off the peg",
    "door-close": "close the door",
    "door-lock": "lock the door by turning the lock clockwise",
    "door-open": "open the door",
    "door-unlock": "unlock the door by turning the lock counter-clockwise",
    "drawer-close": "push the drawer closed",
    "drawer-open": "pull the drawer open",
    "faucet-close": "turn the faucet clockwise",
    "faucet-open": "turn the faucet counter-clockwise",
    "hammer": "hammer the nail into the block",
    "hand-insert": "put the gripper into the hole",
    "handle-press": "press the handle down",
    "handle-press-side": "press the handle at the side down",
    "handle-pull": "pull the handle up",
    "handle-pull-side": "pull the handle at the side up",
    "lever-pull": "pull the lever up",
    "peg-insert-side": "insert the peg into the hole at the side",
    "peg-unplug-side": "unplug the peg at the side",
    "pick-out-of-hole": "pick the puck out of the hole",
    "pick-place": "pick up the puck and place it at the goal",
    "pick-place-wall": "pick up the puck, bypass the wall and place it at the goal",
    "plate-slide": "slide the plate into the cabinet",
    "plate-slide-back": "slide the plate out of the cabinet",
    "plate-slide-back-side": "slide the plate out of the cabinet at the side",
    "plate-slide-side": "slide the plate into the cabinet at the side",
    "push": "push the puck to the goal",
    "push-back": "pull the puck back to the goal",
    "push-wall": "bypass the wall and push the puck to the goal",
    "reach": "reach the goal",
    "reach-wall": "bypass the wall and reach the goal",
    "shelf-place": "pick up the puck and place it onto the shelf",
    "soccer": "push the ball into the soccer goal",
    "stick-pull": "grasp the stick and pull the thermos with it",
    "stick-push": "grasp the stick and push the thermos with it",
    "sweep": "sweep the puck off the table",
    "sweep-into": "sweep the puck into the hole",
    "window-close": "push the window closed",
    "window-open": "push the window open",
}
"""Name of a task, without MetaWorld's version, to its instruction; in alphabetical order."""

_HARDER = {
    "metaworld_medium": "basketball bin-picking box-close coffee-pull coffee-push hammer "
    "peg-insert-side push-wall soccer sweep sweep-into",
    "metaworld_hard": "assembly hand-insert pick-out-of-hole pick-place push push-back",
    "metaworld_very_hard": "disassemble pick-place-wall shelf-place stick-pull stick-push",
}
_GROUPS = {group: tuple(names.split()) for group, names in _HARDER.items()}

GROUPS: dict[str, tuple[str, ...]] = {
    "metaworld_easy": tuple(t for t in TASKS if not any(t in names for names in _GROUPS.values())),
    **_GROUPS,
    "metaworld": tuple(TASKS),
}
"""Groups by difficulty (Seo et al., 2023), which DP3 and MIRROR report, and all of them."""


def tasks_of(name: str) -> tuple[str, ...]:
    """The tasks of a group, or the one that ``metaworld/TASK`` names."""
    return GROUPS[name] if name in GROUPS else (name.removeprefix("metaworld/"),)

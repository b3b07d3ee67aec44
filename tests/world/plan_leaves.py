"""Every number of a plan on its own, and the plan with another one in its place."""

import dataclasses


def leaves(value, path=()):
    """Every number, text or byte string of a plan, by its path."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from leaves(getattr(value, field.name), (*path, field.name))
    else:
        yield path, value


OTHER = {
    ("network", "n_features"): None,  # tied to the features
    ("network", "hidden"): (32, 17),
    ("features", "window_steps"): 13,
    ("features", "short_steps"): (1, 2, 4, 9),
    ("features", "ewma_steps"): (2, 9),
    ("features", "interest"): (4,),
    ("features", "more", "groups"): (0, 3),
    ("features", "more", "kinds"): (4,),
    ("detection", "detector"): "rate",
    ("privacy", "max_epsilon"): 3.0,
    ("risk", "privacy", "max_epsilon"): 3.0,
    ("queries",): None,  # tests/shared/test_recipes.py
    ("heads",): None,  # below
    ("rule",): None,  # tests/shared/test_slow_average.py
    ("detection", "takeoff_line"): 0.3,
    ("heads", "inputs_version"): None,  # there is one
    **dict.fromkeys(
        [("heads", "features", name) for name in ("window_steps", "short_steps", "ewma_steps", "interest")]
    ),  # p's
    ("heads", "features", "more", "groups"): (0, 1, 2),
    ("heads", "features", "more", "kinds"): (4,),
    **{("heads", part, "clip_norm"): None for part in ("crowd", "curvature", "updates")},  # 1
    **{("heads", part, "max_epsilon"): 3.0 for part in ("crowd", "curvature", "updates")},
    **{("heads", part, "rounds"): None for part in ("crowd", "curvature")},  # 1
    **dict.fromkeys([("sum", name) for name in ("seats", "drawn", "t_priv", "t_rec")]),  # only together
}


def other_than(path, value):
    """Another value than the one at a path; None where there is none that goes alone."""
    if path in OTHER:
        return OTHER[path]
    if isinstance(value, bytes):
        return bytes(32)
    return value + 1 if isinstance(value, int) else value * 0.9 + 0.01


def changed(plan, path: tuple[str, ...], value: object):
    """The plan, or a part of it, with one value replaced."""
    if len(path) == 1:
        return dataclasses.replace(plan, **{path[0]: value})
    return dataclasses.replace(plan, **{path[0]: changed(getattr(plan, path[0]), path[1:], value)})

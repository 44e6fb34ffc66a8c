"""Annotations of every type, made up: what a bulk request may hold."""

from typing import Any

from hypothesis import strategies as st

from tests.importers.reading import ANALYSIS

characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
text = st.text(characters, max_size=12)
names = st.text(characters, min_size=1, max_size=12)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
keys = text.filter(lambda key: key != "__proto__")  # which no body may hold
tree = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(keys, tree, max_size=3)
shares = st.floats(0, 1)
xs, ys = st.floats(-64, 128), st.floats(-48, 96)
points = st.lists(st.tuples(xs, ys).map(list), min_size=3, max_size=6)
runs = st.lists(st.integers(0, 9), min_size=1, max_size=9)


def some(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with these keys, any of them left out."""
    return st.fixed_dictionaries({}, optional=parts)


def filled(counts: list[int], size: list[int]) -> dict[str, Any]:
    """The same runs, and a last one to the end of the mask."""
    return {"counts": [*counts, max(0, size[0] * size[1] - sum(counts))], "size": size}


boxes = st.tuples(xs, ys, st.floats(0.1, 60), st.floats(0.1, 40)).map(
    lambda b: {"x_min": b[0], "y_min": b[1], "x_max": b[0] + b[2], "y_max": b[1] + b[3]}
)
keypoint = st.fixed_dictionaries(
    {"x": xs, "y": ys},
    optional={
        "name": names,
        "confidence": shares,
        "visible": st.sampled_from([True, False, 0, 1, 2]),
        "own": tree,
    },
)
DATA: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "bounding_box": boxes,
    "classification": st.lists(
        st.fixed_dictionaries({"class": names, "confidence": shares}), min_size=1, max_size=4
    ).map(lambda entries: {"topk": entries}),
    "heatmap": st.fixed_dictionaries(
        {"width": st.integers(1, 99), "height": st.integers(1, 99)},
        optional={"color_map": names, "vmin": numbers, "vmax": numbers, "unit": names},
    ),
    "segmentation": st.just({"format": "png"})
    | points.map(lambda ring: {"format": "polygon", "polygons": [[v for point in ring for v in point]]})
    | st.builds(filled, runs, st.tuples(st.integers(10, 40), st.integers(10, 40)).map(list)).map(
        lambda mask: {"format": "rle", **mask}
    ),
    "polygon": st.fixed_dictionaries({"points": points}, optional={"holes": st.lists(points, max_size=2)}),
    "keypoint": st.fixed_dictionaries(
        {"keypoints": st.lists(keypoint, min_size=1, max_size=4)}, optional={"skeleton": st.just([[0, 0]])}
    ),
    "custom": objects,
}
PATH = f"ml_outputs/{ANALYSIS}/a.png"


@st.composite
def annotation(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(list(DATA)))
    own = draw(DATA[kind])
    frame = (
        {} if kind in ("heatmap", "custom") else draw(some(image_width=st.just(64), image_height=st.just(48)))
    )
    more = draw(some(extra=objects, id=tree, score=tree)) if kind != "custom" else {}
    path = {"storage_path": PATH} if kind == "heatmap" or own == {"format": "png"} else {}
    columns = some(
        class_name=st.none() | names,
        confidence=st.none() | shares,
        ordering=st.integers(-9, 9),
        client_id=clients,
    )
    return {"annotation_type": kind, "data": {**own, **frame, **more}, **path, **draw(columns)}


clients = st.text("abc.:-", min_size=1, max_size=3)

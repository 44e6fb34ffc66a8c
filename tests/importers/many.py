"""Small files of many images, and what is said of them."""

from typing import Any

BOX = [4, 6, 20, 10]
CATEGORIES = [{"id": 1, "name": "leaf"}, {"id": 2, "name": "stem"}]


def coco(*annotations: dict[str, Any], **images: str) -> dict[str, Any]:
    """A dataset of images by their ids: coco({...}, **{"1": "a.png"})."""
    listed = [
        {"id": int(number), "file_name": name, "width": 64, "height": 48} for number, name in images.items()
    ]
    return {"images": listed, "categories": CATEGORIES, "annotations": list(annotations)}


def entry(image_id: int, **more: Any) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": 1, "bbox": BOX, "score": 0.5, **more}


def taken(said: dict[str, list[Any]]) -> dict[str, int]:
    return {one["filename"]: one["inserted"] for one in said.get("image", ())}


LINE = "0 0.5 0.5 0.25 0.25 0.9\n"

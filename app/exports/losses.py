"""What a format could not carry of an export, counted while it is written."""

from collections import Counter

REASONS = {
    # whole annotations
    "heatmap": "heatmaps: left out, the format has nothing like them",
    "classification": "classifications: left out, they have no place in the image",
    "custom": "custom annotations: left out, they have no place in the image",
    "png_mask": "segmentations that are a PNG artifact: left out",
    "empty_mask": "masks that cover nothing: left out",
    "outside": "annotations outside the image: left out",
    "unseen": "annotations of which no keypoint is seen: left out, they have no box",
    "keypoint_count": "keypoints in one number too many for one analysis: left out",
    # parts of annotations
    "polygon_shape": "polygons: their box is there, the outline is not",
    "segmentation_shape": "segmentations: their box is there, the mask is not",
    "keypoint_shape": "keypoints: the box around them is there, they are not",
    "mask": "masks with too long a border: their box is there, the mask is not",
    "holes": "polygons with too long a border: they are there, the holes in them are not",
    "score": "confidences: left out",
    "extra": "annotations with keys of their own under extra: these are left out",
    "keypoint_score": "annotations with confidences of keypoints: these are left out",
    "keypoint_visible": "annotations that say which keypoints are seen: this is left out",
    "keypoint_extra": "annotations with keys of their own in keypoints: these are left out",
    "keypoint_names": "annotations with keypoints without names, or with others than their class: numbered",
    "skeleton": "annotations with lines between keypoints: these are left out",
    # what is there, but otherwise
    "outline": "outlines: written as the pixels they cover",
    "mask_size": "masks of another size than the image: stretched to it",
    "coarse": "masks with more than 50,000 corners: their outline is coarser",
    "cut": "annotations that reach beyond the image: cut to it",
    "rounded": "boxes between pixels: rounded to whole ones",
    "no_class": "annotations without a class: called unlabeled",
    "no_score": "annotations without a confidence: written as 1",
    "no_keypoint_score": "annotations with keypoints without a confidence: written as 1 where seen, 0 where not",
}


class Losses:
    """How many annotations each loss befell, and of each format which can happen at all."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, what: str) -> None:
        assert what in REASONS, what
        self.counts[what] += 1

    def as_json(self) -> list[dict[str, object]]:
        return [
            {"what": what, "count": self.counts[what], "meaning": reason}
            for what, reason in REASONS.items()
            if self.counts[what]
        ]

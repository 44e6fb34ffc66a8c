"""What the example pipeline can see: one function per demo image, classical methods only.

Each takes pixels (uint8, one or three channels) and its parameters, and gives Findings.
To add a model, write such a function and add a line to MODELS. Needs requirements-pipeline.txt.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import color, data, feature, filters, measure, morphology, segmentation

Json = dict[str, Any]


@dataclass
class Findings:
    """What a model saw: annotations as the API takes them, and the PNG files some of them refer to.

    An annotation refers to a file by its name under `storage_path`; the upload puts the real path there.
    """

    annotations: list[Json] = field(default_factory=list)
    heatmaps: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    filename: str
    name: str
    version: str
    parameters: Json
    see: Callable[[np.ndarray, Json], Findings]


# ---- what the models do ---------------------------------------------------------------------------


def find_faces(pixels: np.ndarray, parameters: Json) -> Findings:
    """Boxes of faces by OpenCV's LBP cascade. It gives no score, so there is no confidence."""
    cascade = feature.Cascade(data.lbp_frontal_face_cascade_filename())
    lowest, highest = parameters["min_size"], parameters["max_size"]
    faces = cascade.detect_multi_scale(
        img=pixels,
        scale_factor=parameters["scale_factor"],
        step_ratio=parameters["step_ratio"],
        min_size=(lowest, lowest),
        max_size=(highest, highest),
    )
    boxes = [(face["c"], face["r"], face["c"] + face["width"], face["r"] + face["height"]) for face in faces]
    return Findings([box_annotation(f"face-{i}", "face", None, box, i) for i, box in enumerate(boxes)])


def find_sources(pixels: np.ndarray, parameters: Json) -> Findings:
    """Boxes around bright blobs by the Laplacian of Gaussian, strongest first.

    Confidence is the scale-normalised response at the blob's centre: a contrast, not a probability.
    """
    grey = color.rgb2gray(pixels)
    scales = {name: parameters[name] for name in ("min_sigma", "max_sigma", "num_sigma")}
    blobs = feature.blob_log(grey, threshold=parameters["threshold"], **scales)
    responses = blob_responses(grey, blobs)
    found = Findings()
    for rank, index in enumerate(np.argsort(-responses, kind="stable")):
        row, column, sigma = blobs[index]
        radius = sigma * np.sqrt(2)
        box = clip_box(column + 0.5 - radius, row + 0.5 - radius, 2 * radius, grey.shape)
        name = "extended source" if sigma >= parameters["extended_sigma"] else "point source"
        found.annotations.append(box_annotation(f"source-{rank}", name, responses[index], box, rank))
    return found


def blob_responses(grey: np.ndarray, blobs: np.ndarray) -> np.ndarray:
    """Minus sigma squared times the Laplacian of Gaussian at each blob's centre and scale, cut to 0 to 1."""
    responses = np.zeros(len(blobs))
    for sigma in np.unique(blobs[:, 2]):
        layer = -(sigma**2) * ndimage.gaussian_laplace(grey, sigma)
        chosen = blobs[:, 2] == sigma
        rows, columns = blobs[chosen, 0].astype(int), blobs[chosen, 1].astype(int)
        responses[chosen] = layer[rows, columns]
    return np.clip(responses, 0, 1)


def find_coins(pixels: np.ndarray, parameters: Json) -> Findings:
    """A mask and an outline of each coin by Otsu's threshold, and the shares of the sizes.

    Confidence is the solidity (area by convex area): a coin is round, so a ragged region is doubtful.
    What touches the edge is dropped, and with it two coins that merge with the bright upper left corner.
    """
    closed = morphology.closing(pixels > filters.threshold_otsu(pixels), np.ones((3, 3), bool))
    labels = measure.label(segmentation.clear_border(closed))
    coins = [r for r in measure.regionprops(labels) if r.area >= parameters["min_area"]]
    found, sizes = Findings(), []
    for i, coin in enumerate(coins):
        sizes.append(coin_size(coin.area, parameters))
        common = {"class_name": sizes[-1], "confidence": round(float(coin.solidity), 4), "ordering": i}
        mask = mask_data(labels == coin.label)
        outline = {"points": outline_points(coin, parameters["outline_tolerance"])}
        found.annotations += [
            {"client_id": f"coin-{i}-mask", "annotation_type": "segmentation", "data": mask, **common},
            {"client_id": f"coin-{i}-outline", "annotation_type": "polygon", "data": outline, **common},
        ]
    if sizes:
        found.annotations.append(share_classification(sizes))
    return found


def coin_size(area: float, parameters: Json) -> str:
    if area < parameters["medium_area"]:
        return "small coin"
    return "medium coin" if area < parameters["large_area"] else "large coin"


def share_classification(sizes: Sequence[str]) -> Json:
    """The image as a whole: the share of each size among the coins found, largest share first."""
    shares = {size: round(sizes.count(size) / len(sizes), 4) for size in sorted(set(sizes))}
    ranked = sorted(shares.items(), key=lambda share: -share[1])
    topk = [{"class": size, "confidence": share} for size, share in ranked]
    return {
        "client_id": "sizes",
        "annotation_type": "classification",
        "class_name": ranked[0][0],
        "confidence": ranked[0][1],
        "data": {"topk": topk, "meaning": f"share of each size among {len(sizes)} coins"},
    }


def map_stain(pixels: np.ndarray, parameters: Json) -> Findings:
    """A heatmap of the brown stain (DAB) by colour deconvolution (Ruifrok and Johnston, 2001)."""
    dab = color.rgb2hed(pixels)[..., 2]
    vmax = float(np.percentile(dab, parameters["vmax_percentile"]))
    threshold = float(filters.threshold_otsu(dab))
    found = heatmap_findings(dab, vmax, "DAB", "stain density (relative)", "magma")
    share = round(float((dab > threshold).mean()), 4)
    summary = {"stained_share": share, "threshold": round(threshold, 5), "threshold_method": "Otsu"}
    found.annotations.append(
        {"client_id": "summary", "annotation_type": "custom", "class_name": "DAB", "data": summary}
    )
    return found


def map_vessels(pixels: np.ndarray, parameters: Json) -> Findings:
    """A heatmap of Frangi's vesselness of the green channel, zero outside the field of view."""
    green = pixels[..., 1] / 255.0
    sigmas = range(parameters["sigma_from"], parameters["sigma_to"] + 1, parameters["sigma_step"])
    vesselness = filters.frangi(green, sigmas=sigmas, black_ridges=True)
    inside = ndimage.distance_transform_edt(color.rgb2gray(pixels) > parameters["dark_below"])
    vesselness[inside < parameters["rim"]] = 0
    vmax = float(np.percentile(vesselness, parameters["vmax_percentile"]))
    return heatmap_findings(vesselness, vmax, "vessel", "vesselness", "viridis")


MODELS = (
    Model("astronaut.png", "face-cascade", "1.0.0",
          {"scale_factor": 1.2, "step_ratio": 1, "min_size": 60, "max_size": 123}, find_faces),
    Model("hubble_deep_field.jpg", "blob-log", "1.0.0",
          {"min_sigma": 1, "max_sigma": 10, "num_sigma": 10, "threshold": 0.05, "extended_sigma": 2},
          find_sources),
    Model("coins.png", "coin-otsu", "1.0.0",
          {"min_area": 100, "medium_area": 1400, "large_area": 2000, "outline_tolerance": 0.5}, find_coins),
    Model("ihc.png", "stain-separation", "1.0.0", {"stain": "DAB", "vmax_percentile": 99.9}, map_stain),
    Model("retina.jpg", "frangi-vessels", "1.0.0",
          {"sigma_from": 2, "sigma_to": 6, "sigma_step": 2, "dark_below": 0.05, "rim": 20,
           "vmax_percentile": 99.5}, map_vessels),
)  # fmt: skip


# ---- shapes as the API takes them -----------------------------------------------------------------


def box_annotation(
    client_id: str, class_name: str, confidence: float | None, box: Sequence[float], rank: int
) -> Json:
    corners = (round(float(value), 2) for value in box)
    return {
        "client_id": client_id,
        "annotation_type": "bounding_box",
        "class_name": class_name,
        "confidence": None if confidence is None else round(float(confidence), 4),
        "data": dict(zip(("x_min", "y_min", "x_max", "y_max"), corners, strict=True)),
        "ordering": rank,
    }


def clip_box(left: float, top: float, side: float, shape: tuple[int, ...]) -> tuple[float, ...]:
    height, width = shape[:2]
    return max(0.0, left), max(0.0, top), min(float(width), left + side), min(float(height), top + side)


def mask_data(mask: np.ndarray) -> Json:
    """COCO run-length encoding of a boolean (height, width) mask, counts as the compressed string."""
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    left, top = int(columns.min()), int(rows.min())
    box = [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
    counts = compress_counts(run_lengths(mask))
    return {"format": "rle", "counts": counts, "size": [height, width], "bbox": box, "area": len(rows)}


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs down the columns; the first is of zeros, 0 long if the mask starts with a one."""
    flat = np.concatenate(([0], mask.ravel(order="F").astype(np.int8)))
    changes = np.flatnonzero(np.diff(flat))
    edges = np.concatenate(([0], changes, [mask.size]))
    return [int(length) for length in np.diff(edges)]


def compress_counts(counts: Sequence[int]) -> str:
    """COCO's string form (rleToString in maskApi.c): five bits a character, and from the fourth count
    on the difference to the count two before."""
    characters = []
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            characters.append(chr((bits | 0x20 if more else bits) + 48))
    return "".join(characters)


def outline_points(region: Any, tolerance: float) -> list[list[float]]:
    """The outer contour as [x, y] in pixels of the image; a pixel's centre is at its index + 0.5."""
    contours = measure.find_contours(np.pad(region.image, 1).astype(float), 0.5)
    contour = measure.approximate_polygon(max(contours, key=len), tolerance)[:-1]
    top, left = region.bbox[:2]
    return [[round(x + left - 0.5, 2), round(y + top - 0.5, 2)] for y, x in contour.tolist()]


def heatmap_findings(values: np.ndarray, vmax: float, class_name: str, unit: str, color_map: str) -> Findings:
    """One heatmap: an 8-bit greyscale PNG where 0 is the value 0 and 255 is vmax or more."""
    scaled = np.clip(np.nan_to_num(values) / vmax if vmax > 0 else 0 * values, 0, 1)
    file = io.BytesIO()
    Image.fromarray((scaled * 255).round().astype(np.uint8)).save(file, "PNG", optimize=True)
    height, width = values.shape
    shown = {"width": width, "height": height, "color_map": color_map, "unit": unit}
    scale = {"vmin": 0.0, "vmax": round(vmax, 6), "largest_value": round(float(values.max()), 6)}
    annotation = {
        "client_id": "heatmap",
        "annotation_type": "heatmap",
        "class_name": class_name,
        "data": {**shown, **scale},
        "storage_path": "heatmap.png",
    }
    return Findings([annotation], {"heatmap.png": file.getvalue()})

"""`flask annotations import --project`: files of many images, as an operator types it."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.models import Analysis, Annotation, AuditEvent, Group
from tests.factories import some_id
from tests.importers.many import LINE, coco, entry, taken
from tests.importers.reading import DATA

CORNERS = [4, 6, 24, 16]
FILES: dict[str, tuple[str, Any, tuple[str, ...]]] = {
    "supervision": (
        "sink.json",
        [
            {
                **dict(zip(("x_min", "y_min", "x_max", "y_max"), CORNERS, strict=True)),
                "image_path": f"in/{name}",
            }
            for name in ("a.png", "b.png")
        ],
        (),
    ),
    "detectron2": (
        "dataset.json",
        [
            {
                "file_name": f"train/{name}",
                "image_id": number,
                "annotations": [{"bbox": CORNERS, "bbox_mode": 0, "category_id": 0}],
            }
            for number, name in enumerate(("a.png", "b.png"))
        ],
        (),
    ),
    "mmdetection": (
        "predictions.json",
        {
            "predictions": [
                {"img_path": name, "labels": [0], "scores": [0.5], "bboxes": [CORNERS]}
                for name in ("a.png", "b.png")
            ]
        },
        (),
    ),
    "torchvision": (
        "outputs.json",
        [
            {"image": name, "labels": [0], "scores": [0.5], "boxes": [CORNERS]}
            for name in ("a.png", "b.png", "gone.png")
        ],
        (),
    ),
    "coco": ("labels.json", coco(entry(1), entry(2), **{"1": "train/a.png", "2": "b.png"}), ()),
    "label-studio": (
        "tasks.json",
        [
            {
                "data": {"image": f"/data/upload/1/0a1b2c3d-{name}"},
                "predictions": [
                    {
                        "result": [
                            {
                                "type": "rectanglelabels",
                                "value": {
                                    "x": 10,
                                    "y": 10,
                                    "width": 50,
                                    "height": 50,
                                    "rectanglelabels": ["leaf"],
                                },
                            }
                        ]
                    }
                ],
            }
            for name in ("a.png", "b.png")
        ],
        (),
    ),
    "fiftyone": (
        "samples.json",
        {
            "samples": [
                {
                    "filepath": f"/data/{name}",
                    "predictions": {
                        "_cls": "Detections",
                        "detections": [
                            {"_cls": "Detection", "label": "leaf", "bounding_box": [0.1, 0.1, 0.5, 0.5]}
                        ],
                    },
                }
                for name in ("a.png", "b.png")
            ]
        },
        (),
    ),
}


@pytest.mark.parametrize("format", FILES)
def test_every_image_of_a_file(format: str, run: Any, write: Any, leaves: Any, world: Any) -> None:
    name, content, options = FILES[format]
    file = write(name, content)
    said = run(format, file, *options)
    assert taken(said) == {"a.png": 1, "b.png": 1}
    (total,) = said["total"]
    assert (total["images"], total["inserted"]) == (2, 2)
    assert total["images_unmatched"] == (format == "torchvision")
    made = world.rows(Analysis)
    assert {(one.model_name, one.model_version, one.status, one.group_id) for one in made} == {
        ("leaf-net", "2.0", "completed", file.stem)
    }
    assert world.count(Group) == 1
    again = run(format, file, *options)
    assert taken(again) == {"a.png": 0, "b.png": 0} and again["total"][0]["unchanged"] == 2
    assert world.count(Analysis) == world.count(Annotation) == 2


def test_what_is_not_taken_is_told(run: Any, write: Any, leaves: Any, world: Any, project: Any) -> None:
    world.image(project, filename="b.png")
    file = write(
        "labels.json",
        coco(
            entry(1), entry(2), entry(3), entry(4), entry(5), entry(9),
            **{"1": "a.png", "2": "b.png", "3": "gone.png", "4": "x/c.png", "5": "y/c.png"},
        ),
    )  # fmt: skip
    said = run("coco", file, code=1)
    assert taken(said) == {"a.png": 1}
    assert [one["called"] for one in said["unmatched"]] == ["gone.png"]
    assert [(one["called"], len(one["image_ids"])) for one in said["ambiguous"]] == [
        ("b.png", 2),
        ("x/c.png", 1),
        ("y/c.png", 1),
    ]
    assert [one["annotations"] for kind in ("unmatched", "ambiguous") for one in said[kind]] == [1] * 4
    assert said["file"][0]["skipped"] == [
        {"place": "annotations.5", "errors": [{"field": "image_id", "reason": "is no image of the file"}]}
    ]
    (total,) = said["total"]
    counted = [total[f"images{kind}"] for kind in ("", "_unmatched", "_ambiguous", "_refused")]
    assert (total["annotations_unmatched"], total["annotations_ambiguous"]) == (1, 3)
    assert counted == [1, 1, 3, 0] and total["skipped_count"] == 1
    run("coco", file, "--skip-invalid")


def test_the_group_makes_no_other_analysis(run: Any, write: Any, leaves: Any, world: Any) -> None:
    """With another file beside it the group is called otherwise by default."""
    names = ("a.png", "b.png")
    files = [write(f"both/{name}.json", coco(entry(1), **{"1": name})) for name in names]
    run("coco", files[0])
    said = run("coco", *files)
    assert [(one["inserted"], one["unchanged"]) for one in said["image"]] == [(0, 1), (1, 0)]
    told = {one["what"] for one in said["image"][0]["file"]["told"]}
    assert told == {"was made before and stays in the group a.png"}
    assert [one.group_id for one in world.rows(Analysis)] == ["a.png", "both"]


def test_images_that_cannot_be_told_apart(run: Any, write: Any, leaves: Any) -> None:
    dataset = coco(entry(1), entry(1), entry(2), entry(3), **{"1": "a.png", "2": "b.png"})
    dataset["images"] += [{"id": 1, "file_name": "c.png"}, {"id": 3}, 7]
    said = run("coco", write("labels.json", dataset), "--skip-invalid")
    assert taken(said) == {"b.png": 1}
    faults = {one["place"]: one["errors"][0]["reason"] for one in said["file"][0]["skipped"]}
    assert faults == {
        "images.0": "is that of several images, and of 2 annotations",
        "images.2": "is that of several images, and of 2 annotations",
        "images.3": "is missing, of an image with 1 annotations",
        "images.4": "must be an object",
    }


def test_one_image_that_is_refused_keeps_no_other_back(run: Any, write: Any, leaves: Any, world: Any) -> None:
    file = write("labels.json", coco(entry(1, score=2), entry(2), entry(1), **{"1": "a.png", "2": "b.png"}))
    said = run("coco", file, code=1)
    assert taken(said) == {"b.png": 1}
    (refused,) = said["refused"]
    assert refused["called"] == "a.png" and refused["errors"][0]["place"] == "annotations.0"
    assert world.count(Analysis) == 1
    skipped = run("coco", file, "--skip-invalid")
    assert taken(skipped) == {"a.png": 1, "b.png": 0} and skipped["total"][0]["skipped_count"] == 1


def test_a_line_that_is_no_number_keeps_no_other_image_back(run: Any, write: Any, leaves: Any) -> None:
    line = LINE.strip()
    files = [write("a.txt", f"{line} 5\n{line} 1e999"), write("b.txt", LINE)]
    said = run("yolo", *files, code=1)
    assert taken(said) == {"b.png": 1} and said["refused"][0]["errors"][0]["place"] == "line 2"


def test_a_run_that_was_cut_off(run: Any, write: Any, leaves: Any, world: Any, monkeypatch: Any) -> None:
    """What was taken is kept, and the next run takes the rest."""
    from app.cli import many_images

    file = write("labels.json", coco(entry(1), entry(2), **{"1": "a.png", "2": "b.png"}))
    whole = many_images.into_new

    def cut(image_id: Any, *more: Any) -> Any:
        if image_id == leaves["b.png"].id:
            raise KeyboardInterrupt
        return whole(image_id, *more)

    with monkeypatch.context() as patched:
        patched.setattr(many_images, "into_new", cut)
        with pytest.raises(json.JSONDecodeError):  # "Aborted!"
            run("coco", file, code=1)
    assert world.count(Analysis) == 1
    assert taken(run("coco", file)) == {"a.png": 0, "b.png": 1}
    assert world.count(Analysis) == world.count(Annotation) == 2


def test_a_dry_run(run: Any, write: Any, leaves: Any, world: Any) -> None:
    file = write("labels.json", coco(entry(1), entry(2), **{"1": "a.png", "2": "b.png"}))
    said = run("coco", file, "--dry-run")
    assert taken(said) == {"a.png": 1, "b.png": 1} and said["total"][0]["dry_run"]
    for table in (Analysis, Annotation, Group):
        assert world.count(table) == 0
    assert not world.rows(AuditEvent, action="analysis.created")


def folder(tmp_path: Path) -> Path:
    labels = tmp_path / "labels"
    (labels / "sub").mkdir(parents=True)
    for name, text in {"a.txt": LINE * 2, "sub/b.txt": "", "gone.txt": LINE, "data.yaml": "names:\n"}.items():
        (labels / name).write_text(text)
    return labels


def zipped(tmp_path: Path) -> Path:
    labels = folder(tmp_path)
    with zipfile.ZipFile(tmp_path / "labels.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(labels.rglob("*")):
            archive.write(file, f"labels/{file.relative_to(labels)}")
        archive.writestr("__MACOSX/labels/._a.txt", b"\0")
    return tmp_path / "labels.zip"


@pytest.mark.parametrize("made", [folder, zipped])
def test_yolo_by_the_names_of_its_files(made: Any, run: Any, leaves: Any, world: Any, tmp_path: Path) -> None:
    """One without lines is an image on which nothing was found."""
    path = made(tmp_path)
    names = tmp_path / "names"
    names.write_text("leaf")
    for inserted, unchanged in ((2, 0), (0, 2)):
        said = run("yolo", path, "--names", names)
        assert taken(said) == {"a.png": inserted, "b.png": 0}
        assert said["total"][0]["unchanged"] == unchanged
        assert [(one["called"], one["annotations"]) for one in said["unmatched"]] == [("gone", 1)]
        assert {Path(one["source"]).name for one in said["other"]} - {"._a.txt"} == {"data.yaml"}
        assert world.count(Analysis) == 2
    assert {one.group_id for one in world.rows(Analysis)} == {"labels"}
    assert {one.class_name for one in world.rows(Annotation)} == {"leaf"}


def test_a_file_for_each_image(run: Any, write: Any, leaves: Any) -> None:
    """As of Ultralytics, whose JSON does not say of which image it is."""
    golden = json.loads((DATA / "ultralytics-detect.json").read_bytes())
    files = [write(f"out/{name}", golden) for name in ("a.json", "b.png.json")]
    assert taken(run("ultralytics", *files)) == dict.fromkeys(("a.png", "b.png"), len(golden))


def test_results_beside_their_dataset(run: Any, write: Any, leaves: Any, world: Any, project: Any) -> None:
    """What the dataset has no image of is none of the file that is called by its number."""
    world.image(project, filename="9.png")
    listed = coco(**{"7": "a.png", "8": "b.png", "11": "c.png"})
    listed["images"] += [{"id": 10}, {"id": 11, "file_name": "a.png"}]
    dataset = write("val.json", listed)
    results = write("results.json", [entry(7), entry(8, category_id=2), entry(8), *map(entry, (9, 10, 11))])
    said = run("coco-results", results, "--dataset", dataset, code=1)
    assert taken(said) == {"a.png": 1, "b.png": 2}
    assert {one["place"]: one["errors"][0]["reason"] for one in said["file"][0]["skipped"]} == {
        "3": "is no image of the dataset",
        "4": "is an image of the dataset without a file name",
        "5": "is that of several images of the dataset",
    }
    assert {one.class_name for one in world.rows(Annotation)} == {"leaf", "stem"}


def test_analyses_of_the_same_id(run: Any, write: Any, leaves: Any, world: Any) -> None:
    """Which of them the annotations are of nobody knows."""
    heads = [{"kind": "analysis", "id": "1", "image_id": str(leaves[name].id)} for name in ("a.png", "b.png")]
    end = {"kind": "end", "annotation_count": 0}
    lines = "".join(json.dumps(one) + "\n" for one in (*heads, end))
    said = run("ndjson", write("x.ndjson", lines), code=1)
    assert [one["place"] for one in said["file"][0]["skipped"]] == ["line 1", "line 2"]
    assert world.count(Analysis) == 0


def test_results_by_the_numbers_of_files(run: Any, write: Any, world: Any, project: Any) -> None:
    world.image(project, filename="000000000139.jpg")
    said = run("coco-results", write("results.json", [entry(139), entry(140)]))
    assert taken(said) == {"000000000139.jpg": 1}
    assert [one["called"] for one in said["unmatched"]] == ["140"]


@pytest.mark.parametrize("format", ["json", "ndjson", "coco"])
def test_an_export_of_the_project(
    format: str, run: Any, world: Any, project: Any, leaves: Any, viewer: Any, tmp_path: Path
) -> None:
    """By the ids of its images; an image that has two analyses gets two."""
    first = coco(entry(1), entry(2), **{"1": "a.png", "2": "b.png"})
    for model in ("one", "two"):
        (tmp_path / model).write_text(json.dumps(first))
        run("coco", tmp_path / model, "--group", model, "--model", model)
    path = f"/api/projects/{project.id}/export?format={format}"
    named = format != "coco"  # which does not have the models
    exported = tmp_path / "export"
    exported.write_bytes(viewer.api("GET", path, buffered=True).data)
    said = run(format, exported, "--group", "again", model=not named)
    assert sorted(one["filename"] for one in said["image"]) == ["a.png", "a.png", "b.png", "b.png"]
    assert said["total"][0]["inserted"] == 4
    assert world.count(Analysis) == 8
    models = {one.model_name for one in world.rows(Analysis) if one.group_id == "again"}
    assert models == ({"one", "two"} if named else {"leaf-net"})
    assert run(format, exported, "--group", "again", model=not named)["total"][0]["unchanged"] == 4
    assert world.count(Analysis) == 8


@pytest.mark.parametrize("format", ["json", "ndjson"])
def test_an_export_of_another_loupe(
    format: str, run: Any, world: Any, project: Any, leaves: Any, viewer: Any, tmp_path: Path
) -> None:
    """Whose images have other ids: they are found by their file names."""
    world.analysis(leaves["b.png"], "completed", model_name="one")
    path = f"/api/projects/{project.id}/export?format={format}"
    text = viewer.api("GET", path, buffered=True).text.replace(str(leaves["b.png"].id), str(some_id()))
    exported = tmp_path / "export"
    exported.write_text(text)
    (taken_one,) = run(format, exported, model=False)["image"]
    assert (taken_one["filename"], taken_one["called"]) == ("b.png", "b.png")


def test_a_file_that_is_none(run: Any, write: Any, leaves: Any, app: Flask) -> None:
    good = write("good.json", coco(entry(1), **{"1": "a.png"}))
    bad = write("bad.json", "{")
    said = run("coco", bad, good, code=1)
    assert "is not JSON" in said["refused"][0]["reason"] and taken(said) == {"a.png": 1}
    app.config["MAX_REQUEST_BYTES"] = 10
    assert "more than 10 bytes" in run("coco", good, code=1)["refused"][0]["reason"]


def test_a_zip_that_is_broken_or_a_bomb(run: Any, leaves: Any, app: Flask, tmp_path: Path) -> None:
    path = tmp_path / "labels.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", LINE * 10_000)
        archive.writestr("b.txt", LINE)
    app.config["MAX_REQUEST_BYTES"] = 2048
    said = run("yolo", path, code=1)
    assert "more than 2048 bytes" in said["refused"][0]["reason"] and taken(said) == {"b.png": 1}
    path.write_bytes(path.read_bytes().replace(b"\x78\x9c", b"\0\0")[:40] + path.read_bytes()[60:])
    assert "cannot be read" in json.dumps(run("yolo", path, code=1)["refused"])


def test_as_text(app: Flask, project: Any, leaves: Any, write: Any) -> None:
    file = write("labels.json", coco(entry(1), entry(2), **{"1": "a.png", "2": "gone\x1b[2J.png"}))
    told = ["annotations", "import", "--project", project.id, "--format", "coco", "--model", "m", file]
    result = app.test_cli_runner().invoke(args=[*map(str, told)])
    assert result.exit_code == 0, result.output
    first, *lines = result.output.splitlines()
    assert first.startswith(f"{file}: a.png: analysis ") and first.endswith(" of a.png")
    assert lines == [
        "  1 inserted, 0 unchanged, 0 updated, 0 removed, 1 total",
        "  normalised: 1 (alias 1 in the first 1)",
        f"{file}: gone\ufffd[2J.png: the project has no image of this name (1 annotation)",
        "1 image taken, 0 refused, 1 unmatched (1 annotation), 0 ambiguous",
        "1 inserted, 0 unchanged, 0 updated, 0 removed, 1 normalised, 0 skipped",
        f"Group labels: /projects/{project.id}/group?group_id=labels",
    ]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--image", str(some_id())], "Name either a project or an image"),
        (["--called", "x"], "--called is for one image"),
        (["--dataset", __file__], "--dataset is for coco-results"),
        (["--group", "g" * 256], "group_id"),
        (["--project", str(some_id())], "no such project"),
    ],
)
def test_what_does_not_go_together(app: Flask, project: Any, write: Any, options: Any, says: str) -> None:
    file = write("labels.json", coco())
    told = ["annotations", "import", "--project", project.id, "--format", "coco", "--model", "m", file]
    result = app.test_cli_runner().invoke(args=[*map(str, told), *options])
    assert result.exit_code != 0 and says in result.output

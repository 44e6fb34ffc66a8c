"""The files of other tools through the endpoint, into a database."""

from urllib.parse import urlencode

import pytest

from tests.importers.golden import FILES


@pytest.mark.parametrize(("format", "file", "told"), FILES)
def test_a_file_is_stored(pipeline, viewer, analysis, format, file, told):
    said = {
        name: ",".join(value.values()) if isinstance(value, dict) else value for name, value in told.items()
    }
    path = f"/api/analyses/{analysis.id}/annotations:import?{urlencode({'format': format, **said})}"
    type_ = "application/json" if file.suffix == ".json" else "text/plain"
    answer = pipeline.post(path, raw=file.read_bytes(), headers={"Content-Type": type_})
    assert answer.status_code == 200, answer.text
    receipt = answer.json
    assert receipt["inserted"] == receipt["file"]["annotations"] > 0
    held = viewer.api("GET", f"/api/analyses/{analysis.id}/annotations").json
    assert held["total"] == receipt["inserted"]
    page = viewer.client.get(f"/images/{analysis.image_id}?analysis={analysis.id}")
    assert page.status_code == 200, "what is stored can be shown"

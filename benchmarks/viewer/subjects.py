"""What is looked at: the demo's pictures with what the example pipeline sees, and pictures full of made-up boxes."""

import io
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from PIL import Image
from sqlalchemy import create_engine, text

from app import dialect
from benchmarks.bench import Bench
from benchmarks.serve import ROOT, Servers
from benchmarks.viewer import boxes
from benchmarks.wire import Wrong, expect

WIDTH, HEIGHT = 4000, 3000
DEMO_IMAGES, PIPELINE = ROOT / "scripts" / "demo_images", ROOT / ".venv-pipeline" / "bin" / "python"
# what the example pipeline sees in each of the demo's pictures
DEMO = {
    "hubble_deep_field.jpg": "3,600 boxes",
    "coins.png": "22 masks",
    "ihc.png": "heatmap of stain",
    "retina.jpg": "heatmap of vessels",
}


@dataclass(frozen=True)
class Subject:
    """An image with the analysis that is looked at, and another that found nothing, from which one comes to it."""

    name: str
    image: str
    analysis: str
    nothing: str

    def address(self, analysis: str) -> str:
        return f"/images/{self.image}?analysis={analysis}"


def subjects(bench: Bench, servers: Servers, demo: list[str], counts: list[int]) -> Iterator[Subject]:
    """Each is made when it is asked for; `demo` are names of DEMO, `counts` numbers of boxes."""
    yield from demonstrated(bench, servers, demo)
    for count in counts:
        image = bench.new_image("crowd.jpg", photograph())
        yield Subject(
            f"{count:,} boxes", image, filled(bench, servers, image, count), filled(bench, servers, image, 0)
        )


def demonstrated(bench: Bench, servers: Servers, names: list[str]) -> Iterator[Subject]:
    """By the example pipeline itself, over HTTP."""
    if not names:
        return
    if not PIPELINE.exists():
        raise Wrong("the example pipeline has no environment: `make bench-viewer` makes it")
    images = {name: bench.new_image(name, (DEMO_IMAGES / name).read_bytes()) for name in names}
    environ = {
        **{
            name: value
            for name, value in servers.environ.items()
            if name in ("PATH", "ML_CALLBACK_HMAC_SECRET")
        },
        "HOME": str(servers.folder),  # its libraries keep caches, by default in the home folder
        "LOUPE_URL": bench.loupe.url,
        "LOUPE_PROJECT": "Benchmark",
        "API_KEY": servers.api_key,
    }
    command = [str(PIPELINE), "scripts/example_pipeline.py", "--pause", "0"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Wrong(f"the example pipeline ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    for name, image in images.items():
        (seen,) = bench.loupe.read(f"/api/images/{image}/analyses")["analyses"]
        expect(f"the analysis of {name}", seen["status"], "completed")
        yield Subject(DEMO[name], image, seen["id"], filled(bench, servers, image, 0))


def filled(bench: Bench, servers: Servers, image: str, count: int) -> str:
    """The id of a finished analysis with so many boxes; they go straight into the table, all else through the API."""
    wanted = {"model_name": "crowd" if count else "nothing", "model_version": "1.0.0"}
    analysis = bench.loupe.send("POST", f"/api/images/{image}/analyses", wanted, 201)["id"]
    bench.loupe.send("PATCH", f"/api/analyses/{analysis}/status", {"status": "processing"})
    if count:
        insert(servers, analysis, count)
    ending = {"status": "completed", "expected_annotations": count}
    bench.loupe.send("POST", f"/api/analyses/{analysis}/finalize", ending)
    return str(analysis)


def insert(servers: Servers, analysis: str, count: int) -> None:
    engine = create_engine(servers.environ["DATABASE_URL"])
    dialect.prepare(engine)
    with engine.begin() as connection:
        boxes.fill(connection, UUID(analysis), count, WIDTH, HEIGHT)
    if engine.dialect.name == "postgresql":
        # what the database would soon do by itself, in the middle of what is measured
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE ml_annotations"))
    engine.dispose()


@cache
def photograph() -> bytes:
    """A JPEG of WIDTH × HEIGHT pixels, which takes as long to decode and to scale as one from a camera."""
    file = io.BytesIO()
    Image.effect_noise((WIDTH // 8, HEIGHT // 8), 12).resize((WIDTH, HEIGHT)).convert("RGB").save(
        file, "JPEG"
    )
    return file.getvalue()

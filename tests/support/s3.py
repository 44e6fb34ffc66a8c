"""An S3 server (moto) met over real HTTP. It checks neither signatures nor expiry: recompute those with botocore."""

import contextlib
import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

from tests.support.server import free_port

REGION, ACCESS_KEY, SECRET_KEY = "us-east-1", "test-access-key", "test-secret-key"


@dataclass(frozen=True)
class Bucket:
    endpoint: str
    name: str
    client: Any

    @property
    def environ(self) -> dict[str, str]:
        """The settings that make Loupe use this bucket."""
        return {
            "S3_ENDPOINT": self.endpoint,
            "S3_BUCKET": self.name,
            "S3_REGION": REGION,
            "S3_ACCESS_KEY": ACCESS_KEY,
            "S3_SECRET_KEY": SECRET_KEY,
        }


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The address of a running server."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


class Restartable:
    """A server that can be stopped and started again at the same address. What it holds stays in this process."""

    def __init__(self) -> None:
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
        self.start()

    @property
    def endpoint(self) -> str:
        return "http://{}:{}".format(*self.server.get_host_and_port())

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()


@contextlib.contextmanager
def restartable() -> Iterator[Restartable]:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = Restartable()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def new_bucket(endpoint: str) -> Iterator[Bucket]:
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    bucket = Bucket(endpoint, f"loupe-{uuid.uuid4()}", client)
    client.create_bucket(Bucket=bucket.name)
    try:
        yield bucket
    finally:
        client.close()

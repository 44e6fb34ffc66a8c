"""Files in a bucket of S3, or of a store that speaks its protocol.

Calls go to `S3_ENDPOINT`; addresses for others are made for `S3_PUBLIC_ENDPOINT` and signed here (Signature
Version 4 in the query), with botocore's own signer but a signing time of our choosing: boto's presigning
always takes this second, so no address would ever come twice and no browser could keep an answer.
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

import base64
import hashlib
import io
import logging
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from boto3.session import Session
from botocore import UNSIGNED
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from app.errors import NotFound, StorageUnavailable
from app.storage.base import (
    EXPORTS,
    SPOOL,
    Clock,
    ListedObject,
    ObjectStream,
    SignedUpload,
    SignedUrl,
    Source,
    StoredObject,
    as_time,
    caching,
    checked,
    checked_upload,
    copy,
    disposition,
    served_type,
    window,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PART = 8 * 1024 * 1024
PARTS_OF_A_SIZE = 1000
DELETE_AT_ONCE = 1000  # the most one DeleteObjects takes
MISSING = {"NoSuchKey", "NotFound", "404"}

_log = logging.getLogger(__name__)


class S3Storage:
    def __init__(self, config: Mapping[str, Any], clock: Clock = time.time) -> None:
        """Reads the `S3_…` settings. Without a key of our own, boto finds one (an instance's role)."""
        self._bucket: str = config["S3_BUCKET"]
        self._region: str = config.get("S3_REGION") or "us-east-1"
        self._clock = clock
        self._session = Session(
            aws_access_key_id=config.get("S3_ACCESS_KEY") or None,
            aws_secret_access_key=config.get("S3_SECRET_KEY") or None,
            region_name=self._region,
        )
        endpoint = config.get("S3_ENDPOINT") or None
        self._client = self._connect(endpoint, "s3v4")
        self._addresses = self._connect(config.get("S3_PUBLIC_ENDPOINT") or endpoint, UNSIGNED)
        # whoever asks whether the store is there wants to know soon
        self._probe = self._connect(endpoint, "s3v4", connect_timeout=2, read_timeout=2, attempts=1)

    def _connect(
        self,
        endpoint: str | None,
        signature_version: Any,
        *,
        connect_timeout: int = 3,
        read_timeout: int = 10,
        attempts: int = 2,
    ) -> Any:
        config = Config(
            signature_version=signature_version,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=32,
            s3={"addressing_style": "path" if endpoint else "virtual"},
            request_checksum_calculation="when_required",  # other stores know no CRC64
            response_checksum_validation="when_required",
        )
        return self._session.client("s3", endpoint_url=endpoint, config=config)

    def put(self, key: str, source: Source, content_type: str) -> StoredObject:
        checked(key)
        with tempfile.SpooledTemporaryFile(SPOOL) as body:  # a retry must be able to begin again
            size, sha256 = copy(source, body)
            body.seek(0)
            with _s3_errors():
                answer = self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=body,
                    ContentType=content_type,
                    ContentLength=size,
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=_base64(sha256),
                )
        return StoredObject(
            key, size, content_type, answer["ETag"].strip('"'), sha256, as_time(self._clock())
        )

    def writer(self, key: str, content_type: str) -> "S3Writer":
        return S3Writer(self._client, self._place(checked(key)), content_type, self._clock)

    def open(self, key: str, start: int = 0) -> ObjectStream:
        checked(key)
        part = {"Range": f"bytes={start}-"} if start else {}
        try:
            with _s3_errors():
                answer = self._client.get_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED", **part)
        except _PastTheEnd:
            stored = self.stat(key)
            if stored is None:
                raise NotFound("There is no such file.") from None
            return ObjectStream(_Body(io.BytesIO()), stored)
        stored = _described(key, answer)
        return ObjectStream(_Body(answer["Body"]), stored)

    def stat(self, key: str) -> StoredObject | None:
        checked(key)
        try:
            with _s3_errors():
                answer = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except NotFound:
            return None
        return _described(key, answer)

    def delete(self, keys: Iterable[str]) -> None:
        names = [{"Key": checked(key)} for key in keys]
        for first in range(0, len(names), DELETE_AT_ONCE):
            batch = {"Objects": names[first : first + DELETE_AT_ONCE], "Quiet": True}
            with _s3_errors():
                answer = self._client.delete_objects(Bucket=self._bucket, Delete=batch)
            if answer.get("Errors"):
                _log.warning("S3 did not delete %s", answer["Errors"][:3])
                raise StorageUnavailable("The object store did not delete every file.")

    def listed(self, place: str) -> Iterator[ListedObject]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=place)
        with _s3_errors():
            for page in pages:
                for found in page.get("Contents", ()):
                    yield ListedObject(found["Key"], found["LastModified"])

    def clear_partial(self, before: datetime, *, dry_run: bool = False) -> int:
        """Exports in parts that nobody completed: the store keeps the parts, and lists no file. All else is there
        whole or not at all."""
        found = 0
        listing = self._client.get_paginator("list_multipart_uploads")
        pages = listing.paginate(Bucket=self._bucket, Prefix=EXPORTS)
        with _s3_errors():
            for upload in (one for page in pages for one in page.get("Uploads", ())):
                if upload["Initiated"] < before:
                    found += 1
                    if not dry_run:
                        whole = self._place(upload["Key"])
                        self._client.abort_multipart_upload(**whole, UploadId=upload["UploadId"])
        return found

    def upload_url(
        self,
        key: str,
        content_type: str,
        expires_in: int,
        base_url: str,
        size: int | None = None,
        sha256: str | None = None,
    ) -> SignedUpload:
        headers = {"Content-Type": content_type}
        if size is not None:
            headers["Content-Length"] = str(size)
        if sha256 is not None:
            headers["x-amz-checksum-sha256"] = _base64(sha256)
        url = self._addresses.generate_presigned_url("put_object", Params=self._place(checked_upload(key)))
        signed_at = int(self._clock())
        signed = self._sign("PUT", url, headers, signed_at, expires_in)
        return SignedUpload(signed, "PUT", headers, as_time(signed_at + expires_in))

    def download_url(
        self,
        key: str,
        expires_in: int,
        base_url: str,
        content_type: str | None = None,
        filename: str | None = None,
        inline: bool = False,
        unchanging: bool = False,
    ) -> SignedUrl:
        params = self._place(checked(key)) | {
            "ResponseCacheControl": caching(expires_in, unchanging),
            "ResponseContentDisposition": disposition(content_type, filename, inline),
        }
        if content_type:
            params["ResponseContentType"] = served_type(content_type)
        url = self._addresses.generate_presigned_url("get_object", Params=params)
        signed_at, same_until = window(self._clock(), expires_in, unchanging)
        signed = self._sign("GET", url, {}, signed_at, expires_in)
        return SignedUrl(signed, as_time(signed_at + expires_in), as_time(same_until))

    def _place(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": key}

    def _sign(
        self, method: str, url: str, headers: Mapping[str, str], signed_at: int, expires_in: int
    ) -> str:
        with _s3_errors():
            credentials = self._session.get_credentials()
            if credentials is None:
                raise NoCredentialsError
            frozen = credentials.get_frozen_credentials()
        request = AWSRequest(method=method, url=url, headers=dict(headers))
        _DatedQueryAuth(frozen, self._region, expires_in, signed_at).add_auth(request)
        return str(request.url)

    def check(self) -> None:
        try:
            with _s3_errors():
                self._probe.head_bucket(Bucket=self._bucket)
        except NotFound:
            raise StorageUnavailable("The bucket does not exist.") from None

    def public_origin(self) -> str | None:
        parts = urlsplit(self._addresses.generate_presigned_url("get_object", Params=self._place("images/x")))
        return f"{parts.scheme}://{parts.netloc}"


class _DatedQueryAuth(S3SigV4QueryAuth):
    """Signs an address as of a given second instead of this one."""

    def __init__(self, credentials: Any, region: str, expires_in: int, signed_at: int) -> None:
        super().__init__(credentials, "s3", region, expires=expires_in)
        self._signed_at = signed_at

    def _modify_request_before_signing(self, request: Any) -> None:
        request.context["timestamp"] = as_time(self._signed_at).strftime("%Y%m%dT%H%M%SZ")
        super()._modify_request_before_signing(request)  # type: ignore[misc]  # not in the stubs


class S3Writer:
    """An upload in parts, one of which is held in memory; what fits into the first part is put as one file.

    A file has 10,000 parts at most, so they grow: to 80 MiB, in a file of 430 GiB.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
    """

    def __init__(self, client: Any, place: Mapping[str, str], content_type: str, clock: Clock) -> None:
        self.bytes_written = 0
        self._client, self._place, self._content_type, self._clock = client, place, content_type, clock
        self._digest, self._part = hashlib.sha256(), bytearray()
        self._upload_id: str | None = None
        self._parts: list[dict[str, Any]] = []

    def write(self, chunk: bytes, /) -> None:
        self._part += chunk
        self._digest.update(chunk)
        self.bytes_written += len(chunk)
        if len(self._part) >= PART * (1 + len(self._parts) // PARTS_OF_A_SIZE):
            self._send_part()

    def _send_part(self) -> None:
        with _s3_errors():
            if self._upload_id is None:
                begun = self._client.create_multipart_upload(**self._place, ContentType=self._content_type)
                self._upload_id = begun["UploadId"]
            number, body = len(self._parts) + 1, bytes(self._part)
            md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
            part = {"UploadId": self._upload_id, "PartNumber": number}
            sent = self._client.upload_part(**self._place, **part, Body=body, ContentMD5=md5)
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})
        self._part.clear()

    def finish(self) -> StoredObject:
        sha256 = self._digest.hexdigest()
        if self._parts and self._part:
            self._send_part()
        with _s3_errors():
            if self._parts:
                whole = {"UploadId": self._upload_id, "MultipartUpload": {"Parts": self._parts}}
                answer = self._client.complete_multipart_upload(**self._place, **whole)
            else:
                check = {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": _base64(sha256)}
                body = {"Body": bytes(self._part), "ContentType": self._content_type}
                answer = self._client.put_object(**self._place, **body, **check)
        self._upload_id = None
        etag = answer["ETag"].strip('"')
        key, moment = self._place["Key"], as_time(self._clock())
        return StoredObject(key, self.bytes_written, self._content_type, etag, sha256, moment)

    def abort(self) -> None:
        if self._upload_id is not None:
            with _s3_errors():
                self._client.abort_multipart_upload(**self._place, UploadId=self._upload_id)
            self._upload_id = None


class _Body(io.RawIOBase):
    """What S3 sends, as a raw stream."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        with _s3_errors():
            chunk: bytes = self._body.read(len(view))
        view[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self._body.close()
        super().close()


class _PastTheEnd(Exception):
    """A range that begins after the last byte."""


@contextmanager
def _s3_errors() -> Iterator[None]:
    """NotFound for a missing key; all else is the fault of the store or the settings: 503, and logged."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        if code in MISSING:
            raise NotFound("There is no such file.") from error
        if code == "InvalidRange":
            raise _PastTheEnd from error
        _log.warning("S3 refused: %s", error)
        raise StorageUnavailable from error
    except BotoCoreError as error:
        _log.warning("S3 cannot be reached: %s", error)
        raise StorageUnavailable from error


def _described(key: str, answer: Mapping[str, Any]) -> StoredObject:
    checksum = answer.get("ChecksumSHA256")
    part_of = answer.get("ContentRange", "").rpartition("/")[2]
    return StoredObject(
        key=key,
        size=int(part_of or answer["ContentLength"]),
        content_type=answer.get("ContentType", "application/octet-stream"),
        etag=answer["ETag"].strip('"'),
        sha256=base64.b64decode(checksum).hex() if checksum else None,
        modified_at=answer["LastModified"],
    )


def _base64(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode()

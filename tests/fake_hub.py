"""A Hugging Face Hub on loopback: of its HTTP interface what huggingface_hub asks to push a model and to download it.

It keeps its repositories in memory, and what it was asked in `requests`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

TOKEN = "hf_CANARYcanaryCANARYcanaryCANARY99"
_LFS = (".safetensors", ".onnx", ".bin")


def _sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    """A repository: its files, and the messages of its commits."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=lambda: ["initial commit"])

    @property
    def sha(self) -> str:
        return hashlib.sha1(repr((self.commits, sorted(self.files))).encode()).hexdigest()


@dataclass
class Hub:
    """What the server knows, and how it is to fail: statuses by a part of the path."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    owners: tuple[str, ...] = ("me",)
    requests: list[tuple[str, str]] = field(default_factory=list)
    failing: dict[str, int] = field(default_factory=dict)
    ignoring: tuple[str, ...] = ()
    objects: dict[str, bytes] = field(default_factory=dict)


@contextmanager
def serving() -> Iterator[Hub]:
    """Serve a Hub without repositories."""
    hub = Hub()

    class Handler(_Handler):
        state = hub

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Keep stderr to the command."""

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _serve(self) -> None:
        path, body = unquote(urlparse(self.path).path), self._body()
        self.state.requests.append((self.command, path))
        for part, status in self.state.failing.items():
            if part in path:
                return self._answer({"error": f"a failure of {path}"}, status)
        if path.startswith("/lfs/"):
            self.state.objects[path.removeprefix("/lfs/")] = body
            return self._answer({})
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            return self._answer(
                {"error": "no"}, 401, {"X-Error-Message": "Invalid credentials in Authorization header"}
            )
        parts = path.strip("/").split("/")
        if path == "/api/validate-yaml":
            wrong = "model-index" not in json.loads(body)["content"]
            return self._answer({"errors": [{"message": "no results"}], "warnings": []}, 400 if wrong else 200)
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        name = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        if (repository := self.state.repositories.get(name)) is None:
            return self._answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        match parts:
            case ["api", "models", _, _] | ["api", "models", _, _, "revision", _]:
                return self._answer({
                    "id": name, "modelId": name, "private": repository.private, "sha": repository.sha, "tags": [],
                    "siblings": [{"rfilename": file} for file in sorted(repository.files)],
                })  # fmt: skip
            case ["api", "models", _, _, "preupload", _]:
                return self._answer(
                    {"files": [self._mode(repository, one["path"]) for one in json.loads(body)["files"]]}
                )
            case ["api", "models", _, _, "tree", _]:
                return self._answer([
                    {"type": "file", "path": file, "size": len(content), "oid": _sha1(content)}
                    for file, content in sorted(repository.files.items())
                ])  # fmt: skip
            case ["api", "models", _, _, "commit", _]:
                return self._commit(name, repository, body)
            case [_, _, "resolve", _, *file]:
                return self._file(repository, "/".join(file))
        return self._answer({"error": f"what is {path}?"}, 501)

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] not in self.state.owners:
            return self._answer({"error": "no rights"}, 403, {"X-Error-Message": "You don't have the rights"})
        if name in self.state.repositories:
            return self._answer({"error": "it exists"}, 409)
        self.state.repositories[name] = Repository(asked["visibility"] == "private", {".gitattributes": b""})
        return self._answer({"url": f"{self.state.url}/{name}"})

    def _mode(self, repository: Repository, path: str) -> dict[str, Any]:
        large = path.endswith(_LFS)
        there = repository.files.get(path)
        oid = None if there is None else hashlib.sha256(there).hexdigest() if large else _sha1(there)
        return {
            "path": path, "uploadMode": "lfs" if large else "regular", "oid": oid,
            "shouldIgnore": path in self.state.ignoring,
        }  # fmt: skip

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = [
            {**one, **({} if one["oid"] in self.state.objects else {"actions": {"upload": self._upload(one["oid"])}})}
            for one in asked["objects"]
        ]
        self._answer({"transfer": "basic", "objects": objects})

    def _upload(self, oid: str) -> dict[str, Any]:
        return {"href": f"{self.state.url}/lfs/{oid}", "header": {}}

    def _commit(self, name: str, repository: Repository, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, repository.sha):
            return self._answer({"error": "the branch has moved"}, 412)
        for line in lines[1:]:
            value = line["value"]
            match line["key"]:
                case "file":
                    repository.files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    repository.files[value["path"]] = self.state.objects[value["oid"]]
                case "deletedFile":
                    del repository.files[value["path"]]
        repository.commits.append(header["summary"])
        oid = repository.sha
        return self._answer({"commitUrl": f"{self.state.url}/{name}/commit/{oid}", "commitOid": oid, "success": True})

    def _file(self, repository: Repository, path: str) -> None:
        if path not in repository.files:
            return self._answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        content = repository.files[path]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": repository.sha}
        return self._answer(content, 200, headers)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for key, text in (headers or {}).items():
            self.send_header(key, text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

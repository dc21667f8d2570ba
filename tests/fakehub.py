"""A hub on this machine, to which huggingface_hub talks as to the real one."""

import contextlib
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """repositories: the folder of each, by name. pace: bytes a second of weights. requests: their paths, in order.
    status: that everything is answered with instead. gated: nobody may have the files."""

    def __init__(self, url):
        self.url = url
        self.repositories, self.requests = {}, []
        self.pace = self.status = None
        self.gated = False

    def downloaded(self):
        """The files that were downloaded, as 'org/name/unet/config.json'."""
        return [path.replace(f"resolve/{COMMIT}/", "").strip("/") for path in self.requests if "/resolve/" in path]


def etag(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


@contextlib.contextmanager
def running(monkeypatch):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self, status, body, **headers):
            self.send_response(status)
            for name, value in {"Content-Length": len(body), **headers}.items():
                self.send_header(name.replace("_", "-"), str(value))
            self.end_headers()
            for begin in range(0, len(body), 1 << 12) if self.command == "GET" else ():
                if hub.pace and len(body) > 1 << 14:
                    time.sleep((1 << 12) / hub.pace)
                self.wfile.write(body[begin : begin + (1 << 12)])

        def do_GET(self):
            path = unquote(self.path.partition("?")[0])
            if self.command == "GET":
                hub.requests.append(path)
            with contextlib.suppress(OSError):  # whoever asked has gone
                self.reply(path)

        do_HEAD = do_GET  # noqa: N815

        def reply(self, path):
            api = path.startswith("/api/models/")
            name = "/".join(path.removeprefix("/api/models").split("/")[1:3])
            folder = hub.repositories.get(name)
            if hub.status or folder is None:
                missing = {} if hub.status else {"X_Error_Code": "RepoNotFound"}
                self.answer(hub.status or 404, b"{}", **missing)
            elif api:
                files = [
                    {
                        "rfilename": file.relative_to(folder).as_posix(),
                        "size": file.stat().st_size,
                        "blobId": etag(file),
                    }
                    for file in sorted(folder.rglob("*"))
                    if file.is_file()
                ]
                index = folder / "model_index.json"
                holds = json.loads(index.read_text())["_class_name"] if index.exists() else None
                tree = [{"type": "file", "oid": COMMIT, "path": it["rfilename"], "size": it["size"]} for it in files]
                about = {"id": name, "sha": COMMIT, "siblings": files, "tags": [], "private": False, "gated": False}
                about["config"] = {"diffusers": {"_class_name": holds}}
                body = json.dumps(tree if "/tree/" in path else about).encode()
                self.answer(200, body, Content_Type="application/json")
            elif hub.gated:
                self.answer(403, b"", X_Error_Code="GatedRepo")
            else:
                file = folder / path.partition(f"/resolve/{COMMIT}/")[2]
                if not file.is_file():
                    self.answer(404, b"", X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
                    return
                more = {"ETag": f'"{etag(file)}"', "X_Repo_Commit": COMMIT, "Accept_Ranges": "bytes"}
                self.answer(200, file.read_bytes(), **more)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub = FakeHub(f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()

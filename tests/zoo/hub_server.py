"""A stand-in for the Hugging Face Hub on this machine: the part of its HTTP interface in use.

It knows what the public interface (huggingface.co/docs/hub/api) says of repositories, branches,
commits, LFS uploads and downloads, and refuses what that would refuse: requests without a token,
commits to what does not exist, metadata that is no YAML, content of another hash than announced.
"""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import socket
import threading
import urllib.parse

TOKEN = "hf_of_the_tests"


class Repository:
    def __init__(self, private=False):
        self.private = private
        self.commits = {}  # SHA to {path: content}.
        self.branches = {}
        self.messages = []
        self.commit("main", {}, "initial commit")

    def commit(self, branch, files, message):
        sha = hashlib.sha1(f"{len(self.commits)} {branch} {message}".encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        self.messages.append(message)
        return sha

    def find(self, revision):
        revision = self.branches.get(revision, revision)
        return revision if revision in self.commits else None


class Hub:
    """The server and what is stored on it: `repositories` by name."""

    def __init__(self):
        self.reset()
        self.port = 0
        self.start()
        self.address = f"http://127.0.0.1:{self.port}"

    def reset(self):
        self.repositories = {}
        self.objects = {}  # LFS content by its hash.
        self.failing = False
        self.gated = set()

    def start(self):
        self.connections = []
        handler = type("Handler", (_Handler,), {"server_hub": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @contextlib.contextmanager
    def down(self):
        """Nobody answers meanwhile."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        for connection in self.connections:  # Those kept open for the next request.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def files(self, name, revision="main"):
        repository = self.repositories[name]
        return repository.commits[repository.find(revision)]

    def alter(self, name, **files):
        """Commits files as someone else would; `None` removes one. Dots in names are `__`."""
        new = dict(self.files(name))
        for path, content in files.items():
            new[path.replace("__", ".")] = content
        kept = {path: content for path, content in new.items() if content is not None}
        return self.repositories[name].commit("main", kept, "altered")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server_hub.connections.append(self.connection)

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def answer(self):
        hub = self.server_hub
        path = urllib.parse.urlsplit(self.path).path
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if hub.failing:
            return self.send(500, {"error": "Internal Error"})
        for method, pattern, name in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and self.command in method:
                return getattr(self, name)(*map(urllib.parse.unquote, match.groups()))
        return self.send(404, {"error": f"no route for {self.command} {path}"})

    def send(self, status, content=b"", **headers):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
            headers["Content-Type"] = "application/json"
        self.send_response(status)
        for key, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def refuse(self, status, code, text):
        self.send(status, {"error": text}, X_Error_Code=code, X_Error_Message=text)

    def json(self):
        return json.loads(self.body)

    @property
    def authorized(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def repository(self, name):
        hub = self.server_hub
        found = hub.repositories.get(name)
        if found is None or (found.private and not self.authorized):
            self.refuse(404 if self.authorized else 401, "RepoNotFound", "Repository not found")
            return None
        if name in hub.gated:
            self.refuse(403, "GatedRepo", f"Access to model {name} is restricted")
            return None
        return found

    def writable(self, name):
        if not self.authorized:
            self.send(401, {"error": "Invalid username or password."})
            return None
        return self.repository(name)

    # Writing.

    def create(self):
        if not self.authorized:
            return self.send(401, {"error": "Invalid username or password."})
        asked = self.json()
        name = f"{asked['organization']}/{asked['name']}"
        url = f"{self.server_hub.address}/{name}"
        if name in self.server_hub.repositories:
            return self.send(409, {"error": "You already created this model repo", "url": url})
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.server_hub.repositories[name] = Repository(private)
        return self.send(200, {"url": url})

    def branch(self, name, branch):
        found = self.writable(name)
        if found is None:
            return None
        if branch in found.branches:
            return self.send(409, {"error": "Reference already exists"})
        found.branches[branch] = found.branches["main"]
        self.send(200, {})

    def validate(self):
        import yaml

        text = self.json()["content"]
        try:
            facts = yaml.safe_load(text.split("---\n")[1])
            errors = [] if isinstance(facts, dict) else [{"message": "no metadata"}]
        except (IndexError, yaml.YAMLError) as error:
            errors = [{"message": str(error)}]
        self.send(400 if errors else 200, {"errors": errors, "warnings": []})

    def preupload(self, name, revision):
        found = self.writable(name)
        if found is None:
            return None
        if found.find(revision) is None:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith((".h5", ".png")) else "regular",
                "shouldIgnore": False,
            }
            for file in self.json()["files"]
        ]
        self.send(200, {"files": files})

    def batch(self, name):
        if self.writable(name) is None:
            return
        objects = [
            {
                **wanted,
                "actions": {
                    "upload": {"href": f"{self.server_hub.address}/upload/{wanted['oid']}"}
                },
            }
            for wanted in self.json()["objects"]
        ]
        self.send(200, {"transfer": "basic", "objects": objects})

    def upload(self, oid):
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self.send(400, {"error": "content of another hash"})
        self.server_hub.objects[oid] = self.body
        self.send(200)

    def commit(self, name, revision):
        found = self.writable(name)
        if found is None:
            return None
        if found.find(revision) is None:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files, message = dict(found.commits[found.find(revision)]), ""
        for line in self.body.splitlines():
            operation = json.loads(line)
            key, value = operation["key"], operation["value"]
            if key == "header":
                message = value["summary"]
            elif key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.server_hub.objects[value["oid"]]
        sha = found.commit(revision, files, message)
        url = f"{self.server_hub.address}/{name}/commit/{sha}"
        self.send(200, {"success": True, "commitOid": sha, "commitUrl": url})

    # Reading.

    def info(self, name, revision="main"):
        found = self.repository(name)
        if found is None:
            return None
        sha = found.find(revision)
        if sha is None:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        siblings = [{"rfilename": path} for path in found.commits[sha]]
        facts = {"id": name, "modelId": name, "sha": sha, "private": found.private}
        self.send(200, {**facts, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0})

    def tree(self, name, revision):
        found = self.repository(name)
        if found is None:
            return
        files = found.commits[found.find(revision)]
        entries = [
            {"type": "file", "path": path, "size": len(content), "oid": _etag(content)}
            for path, content in files.items()
        ]
        self.send(200, entries)

    def resolve(self, name, revision, path):
        found = self.repository(name)
        if found is None:
            return None
        sha = found.find(revision)
        if sha is None:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        content = found.commits[sha].get(path)
        if content is None:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        self.send(200, content, ETag=f'"{_etag(content)}"', X_Repo_Commit=sha)


def _etag(content):
    return hashlib.sha1(content).hexdigest()


_NAME = r"([^/]+/[^/]+)"
_ROUTES = (
    (("POST",), "/api/repos/create", "create"),
    (("POST",), "/api/validate-yaml", "validate"),
    (("POST",), f"/api/models/{_NAME}/branch/([^/]+)", "branch"),
    (("POST",), f"/api/models/{_NAME}/preupload/([^/]+)", "preupload"),
    (("POST",), f"/api/models/{_NAME}/commit/([^/]+)", "commit"),
    (("POST",), rf"/{_NAME}\.git/info/lfs/objects/batch", "batch"),
    (("PUT",), "/upload/([0-9a-f]+)", "upload"),
    (("GET",), f"/api/models/{_NAME}", "info"),
    (("GET",), f"/api/models/{_NAME}/revision/([^/]+)", "info"),
    (("GET",), f"/api/models/{_NAME}/tree/([^/]+)", "tree"),
    (("GET", "HEAD"), f"/{_NAME}/resolve/([^/]+)/(.+)", "resolve"),
)

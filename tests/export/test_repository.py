"""The model repository: versions that appear whole, files that servers read, errors that help."""

import errno
import importlib.metadata
import os
import re
import shutil
import threading
import time

import pytest

import export
from export.files import versions
from export.graphs import endpoints
from export.runtimes import c_api
from export.serving import repository
from kvae.utils import io, locks


@pytest.fixture(scope="module")
def published(dense, tmp_path_factory):
    """A repository with a verified version of `dense`."""
    folder = tmp_path_factory.mktemp("repository")
    # Two signatures of them all, for the sake of time.
    signatures = ["serving_default", "generate"]
    return folder, export.publish(dense, folder, "dense", signatures=signatures)


@pytest.fixture
def quick(monkeypatch, published, copy_of):
    """Publishing without the seconds that writing takes: the finished version is copied."""
    write = copy_of(published[1].path)
    monkeypatch.setattr(endpoints, "write", write)
    return write


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_repository_is_complete(published):
    folder, done = published
    assert done.path == folder / "models" / "dense" / "1" and done.version == 1
    assert done.report.ok and done.pruned == ()
    assert done.report.path == done.path and str(done.report).startswith(f"{done.path} (")
    assert len(repr(done).replace(str(folder), "")) < 200
    assert {path.name for path in folder.iterdir()} == {
        *("models", "models.config", "monitoring.config", "batching_params.pbtxt"),
        *("docker-compose.yml", "kubernetes", "README.md"),
    }
    manifests = {"cpu.yaml", "gpu.yaml", "copy.yaml"}
    assert {path.name for path in (folder / "kubernetes").iterdir()} == manifests
    assert [path.name for path in (folder / "models").iterdir()] == ["dense"]
    # A server of another user reads it.
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.rglob("*"))
    assert "`generate`" in (folder / "README.md").read_text()


def test_the_configuration_lists_every_model_and_is_protocol_buffer_text(quick, dense, tmp_path):
    for name in ("b", "a", "b"):
        export.publish(dense, tmp_path, name, verify=False)
    assert list(repository.models(tmp_path)) == ["a", "b"]
    text = (tmp_path / "models.config").read_text()
    assert text.count("config {") == 2 and 'base_path: "/repository/models/a"' in text
    readme = (tmp_path / "README.md").read_text()
    assert "## a\n" in readme and "## b\n" in readme
    config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    from google.protobuf import text_format

    parsed = text_format.Parse(text, config.ModelServerConfig()).model_config_list.config
    assert [(c.name, c.base_path) for c in parsed] == [
        ("a", "/repository/models/a"),
        ("b", "/repository/models/b"),
    ]
    assert all(c.model_version_policy.latest.num_versions == 1 for c in parsed)


def test_the_largest_allowed_batch_is_the_largest_batch(published):
    # TensorFlow Serving refuses to start otherwise.
    lines = (published[0] / "batching_params.pbtxt").read_text().splitlines()
    sizes = [int(line.split()[-1]) for line in lines if line.startswith("allowed_batch_sizes")]
    assert sizes == sorted(set(sizes))
    assert f"max_batch_size {{ value: {sizes[-1]} }}" in lines


def test_manifests_are_yaml_that_fits_together(published, check_confined):
    yaml = pytest.importorskip("yaml")
    folder = published[0]
    compose = yaml.safe_load((folder / "docker-compose.yml").read_text())
    assert set(compose["services"]) == {"serving", "serving-gpu"}
    for service in compose["services"].values():
        assert service["volumes"] == [".:/repository:ro"]
        named = [argument.split("=")[1] for argument in service["command"] if "/repo" in argument]
        assert all((folder / path.removeprefix("/repository/")).is_file() for path in named)
        assert r"/v1/models/dense HTTP/1.0\r\n\r\n" in service["healthcheck"]["test"][-1]
    for kind in ("cpu", "gpu"):
        documents = yaml.safe_load_all((folder / "kubernetes" / f"{kind}.yaml").read_text())
        claim, deployment, service = documents
        pod = deployment["spec"]["template"]
        assert pod["metadata"]["labels"] == service["spec"]["selector"]
        named = {item["name"]: item for item in pod["spec"]["volumes"]}
        name = claim["metadata"]["name"]
        assert named["repository"]["persistentVolumeClaim"] == {"claimName": name}
        (container,) = pod["spec"]["containers"]
        assert container["args"] == compose["services"]["serving"]["command"]
        gpu = kind == "gpu"
        assert ("nvidia.com/gpu" in container["resources"]["limits"]) is gpu
        assert container["image"] == repository.IMAGE + "-gpu" * gpu
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
        check_confined(pod["spec"])
    (copy,) = yaml.safe_load_all((folder / "kubernetes" / "copy.yaml").read_text())
    check_confined(copy["spec"])
    assert copy["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": name}


def test_containers_are_confined(published):
    yaml = pytest.importorskip("yaml")
    readme = (published[0] / "README.md").read_text()
    compose = yaml.safe_load((published[0] / "docker-compose.yml").read_text())
    for name, service in compose["services"].items():
        assert re.fullmatch(r"\$\{KVAE_UID:-[1-9]\d*\}:\$\{KVAE_GID:-[1-9]\d*\}", service["user"])
        assert service["read_only"] is True and service["tmpfs"] == ["/tmp"]
        assert service["cap_drop"] == ["ALL"] and "privileged" not in service
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
        assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["reservations"])
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        release = repository.IMAGE.partition(":")[2]
        gpu = "-gpu" * (name == "serving-gpu")
        assert service["image"] == f"tensorflow/serving:${{TF_SERVING_TAG:-{release}}}{gpu}"
        assert service["healthcheck"]["test"]
    # The release that serves is the one that exports, and no file names a tag that moves.
    assert release.split(".")[:2] == importlib.metadata.version("tensorflow").split(".")[:2]
    for path in (*published[0].glob("*.*"), *(published[0] / "kubernetes").iterdir()):
        assert path.is_dir() or ":latest" not in path.read_text()
    for option in ("--user 65534", "--read-only", "--cap-drop ALL", "no-new-privileges:true"):
        assert option in readme
    assert repository.IMAGE in readme


def test_files_that_an_operator_took_over_are_kept(quick, dense, tmp_path):
    export.publish(dense, tmp_path, "a", verify=False)
    (tmp_path / "docker-compose.yml").write_text("services: {}\n")
    (tmp_path / "models.config").write_text(f"# {repository.MARK}\nold")
    export.publish(dense, tmp_path, "a", verify=False)
    assert (tmp_path / "docker-compose.yml").read_text() == "services: {}\n"
    assert "old" not in (tmp_path / "models.config").read_text()


def test_a_poller_that_loads_every_version_sees_no_failure(quick, dense, tmp_path):
    folder, loaded, failures = tmp_path / "models" / "dense", set(), []
    stop = threading.Event()

    def poll():
        while True:
            last = stop.is_set()
            for version in set(versions.versions(folder)) - loaded:
                loaded.add(version)
                try:
                    # The loader that TensorFlow Serving uses; it reads graph and variables.
                    c_api.Session(folder / str(version)).close()
                except Exception as error:
                    failures.append((version, error))
            if last:
                return
            time.sleep(0.001)

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        for _ in range(8):
            export.publish(dense, tmp_path, "dense", verify=False)
    finally:
        stop.set()
        poller.join(60)
    assert failures == [] and loaded == set(range(1, 9))


def test_publishers_at_once_each_get_a_number(quick, dense, tmp_path):
    done, threads = [], []
    for _ in range(4):
        publish = lambda: done.append(export.publish(dense, tmp_path, "x", verify=False).version)  # noqa: E731
        threads.append(threading.Thread(target=publish))
        threads[-1].start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == [1, 2, 3, 4]
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["x"]


def test_publishers_at_once_are_all_in_the_configuration(quick, dense, tmp_path, monkeypatch):
    models, slow = repository.models, [True]

    def listed(folder):
        found = models(folder)
        if slow and slow.pop():  # The first one writes what it saw later than the second one would.
            time.sleep(1.0)
        return found

    monkeypatch.setattr(repository, "models", listed)
    threads = [
        threading.Thread(target=export.publish, args=(dense, tmp_path, name, None, False))
        for name in "ab"
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.2)
    for thread in threads:
        thread.join(60)
    assert (tmp_path / "models.config").read_text().count("config {") == 2
    assert not (tmp_path / ".lock").exists()


def test_what_a_killed_publication_left_is_removed_and_a_living_one_is_not(quick, dense, tmp_path):
    home = tmp_path / "models"
    for name in ("dead", "living"):
        (home / f".publish.{name}.tmp" / "x" / "1").mkdir(parents=True)
        living = locks.claim(home / f".publish.{name}.tmp" / ".owner")
        if name == "dead":
            locks.give_up(living)
    export.publish(dense, tmp_path, "x", verify=False)
    assert sorted(path.name for path in home.iterdir()) == [".publish.living.tmp", "x"]
    locks.give_up(living)
    export.publish(dense, tmp_path, "x", verify=False)
    assert sorted(path.name for path in home.iterdir()) == ["x"]


def test_old_versions_are_pruned_and_only_those(quick, dense, tmp_path):
    for _ in range(3):
        export.publish(dense, tmp_path, "a", verify=False)
    export.publish(dense, tmp_path, "b", verify=False)
    (tmp_path / "models" / "a" / "notes").mkdir()
    assert export.publish(dense, tmp_path, "a", keep=2, verify=False).pruned == (1, 2)
    assert sorted(p.name for p in (tmp_path / "models" / "a").iterdir()) == ["3", "4", "notes"]
    assert versions.versions(tmp_path / "models" / "b") == [1]
    # Numbers are not used again.
    done = export.publish(dense, tmp_path, "a", keep=1, verify=False)
    assert done.version == 5 and done.pruned == (3, 4)
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == ["a", "b"]


def test_pruning_goes_through_a_rename(quick, dense, tmp_path, monkeypatch):
    for _ in range(2):
        export.publish(dense, tmp_path, "a", verify=False)
    seen = []
    rmtree = shutil.rmtree

    def watch(path, **options):
        if "pruned" in str(path):
            seen.append(versions.versions(tmp_path / "models" / "a"))
        rmtree(path, **options)

    monkeypatch.setattr(io.shutil, "rmtree", watch)
    export.publish(dense, tmp_path, "a", keep=1, verify=False)
    assert seen == [[2, 3], [3]]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), "status"])
def test_a_full_disk_leaves_nothing(quick, dense, tmp_path, monkeypatch, error):
    def write(made, path):
        quick(made, path)
        # TensorFlow's writers report a status, not an error number.
        raise RuntimeError("x.data; No space left on device") if error == "status" else error

    monkeypatch.setattr(endpoints, "write", write)
    with pytest.raises(OSError, match=r"is full \(\d+ MB free\), and nothing was published"):
        export.publish(dense, tmp_path, "a")
    assert everything(tmp_path) == ["models"]


def test_a_disk_that_fills_up_while_tensorflow_writes(dense, tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(OSError, match="is full"):
            export.publish(dense, tmp_path, "a", signatures=["encode"])
        with pytest.raises(OSError, match=f"is full .*, and {tmp_path / 'own' / '1'} was not wri"):
            export.saved_model(dense, tmp_path / "own", signatures=["encode"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert everything(tmp_path) == ["models", "own"]


def test_folders_that_cannot_be_written_are_named(dense, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is a file, not a folder"):
        export.publish(dense, tmp_path / "file", "a")
    if os.path.isdir("/proc/self"):  # Read-only for root as well.
        with pytest.raises(PermissionError, match="Cannot create the folder /proc"):
            export.publish(dense, "/proc/self/repository", "a")


def test_a_version_that_does_not_run_is_not_published(dense, conv, quick, tmp_path):
    # The files are those of `dense`, the model is another.
    with pytest.raises(ValueError, match="does not do what the model does"):
        export.publish(conv, tmp_path, "a")
    assert everything(tmp_path) == ["models"]


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "a:predict", "x" * 64, 3])
def test_names_that_cannot_be_served(dense, tmp_path, name):
    with pytest.raises(ValueError, match="no name that can be served"):
        export.publish(dense, tmp_path, name)
    assert everything(tmp_path) == []


@pytest.mark.parametrize(
    ("keep", "error"), [(0, ValueError), (-1, ValueError), ("2", TypeError), (True, TypeError)]
)
def test_keep_is_a_positive_integer(dense, tmp_path, keep, error):
    with pytest.raises(error, match="`keep` is"):
        export.publish(dense, tmp_path, "a", keep=keep)
    with pytest.raises(TypeError, match="gives the next free number"):
        export.publish(dense, tmp_path, "a", version=3)

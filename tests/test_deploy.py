"""The manifests of deploy/: what their scripts start, and that `kvae` takes it."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

from kvae import cli

DEPLOY = pathlib.Path(__file__).parents[1] / "deploy"
NOTE = """#!/bin/sh
echo "$0" "$@" >>"$NOTES/$(basename "$0")"
echo "$TF_CONFIG" >>"$NOTES/TF_CONFIG"
"""


@pytest.fixture
def programs(tmp_path):
    """Runs a script where `kvae` and others note what they were given; returns its status."""
    (tmp_path / "bin").mkdir()

    def run(*command, ends=(), **environment):
        for name, text in {"kvae": NOTE, **dict(ends)}.items():
            (tmp_path / "bin" / name).write_text(text)
            (tmp_path / "bin" / name).chmod(0o755)
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environment = {"PATH": path, "NOTES": str(tmp_path), "TF_CONFIG": "", **environment}
        return subprocess.run(command, env=environment, capture_output=True, text=True).returncode

    return run


def parsed(folder):
    """What `kvae train` reads in the command lines that were noted: all alike."""
    (line,) = set((folder / "kvae").read_text().splitlines())
    command = line.split()
    assert command[1] == "train"
    return cli._parser("train").parse_args(command[1:])


def check(arguments, where):
    from zoo import list_architectures

    assert arguments.architecture in list_architectures()
    assert arguments.distributed == where
    assert arguments.output and arguments.dataset == "mnist"


@pytest.fixture(scope="module")
def documents():
    yaml = pytest.importorskip("yaml")
    text = (DEPLOY / "kubernetes" / "train.yaml").read_text(encoding="utf-8")
    return {item["kind"]: item for item in yaml.safe_load_all(text)}


@pytest.mark.skipif(not shutil.which("sh"), reason="There is no sh.")
def test_a_pod_of_kubernetes_starts_its_worker(documents, programs, tmp_path):
    (container,) = documents["Job"]["spec"]["template"]["spec"]["containers"]
    given = {item["name"]: item["value"] for item in container["env"]}
    command = [*container["command"], *container["args"]]
    assert programs(*command, JOB_COMPLETION_INDEX="1", **given) == 0
    check(parsed(tmp_path), "cluster")
    # The names by which the headless Service knows the pods of the Job, in their order.
    job, service = documents["Job"], documents["Service"]
    name, port = job["metadata"]["name"], service["spec"]["ports"][0]["port"]
    workers = [f"{name}-{i}.{service['metadata']['name']}:{port}" for i in range(2)]
    config = json.loads((tmp_path / "TF_CONFIG").read_text())
    assert config == {"cluster": {"worker": workers}, "task": {"type": "worker", "index": 1}}


def test_the_parts_of_the_kubernetes_manifest_fit(documents):
    job, pod = documents["Job"]["spec"], documents["Job"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    given = {item["name"]: item["value"] for item in container["env"]}
    assert job["completions"] == job["parallelism"] == int(given["WORKERS"])
    assert job["completionMode"] == "Indexed"  # Else pods have no number, and no name.
    service = documents["Service"]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": documents["Job"]["metadata"]["name"]}
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounted) == {item["name"] for item in pod["volumes"]}
    claimed = [item for item in pod["volumes"] if "persistentVolumeClaim" in item]
    claims = {item["name"]: item["persistentVolumeClaim"]["claimName"] for item in claimed}
    assert mounted["data"] == given["KVAE_DATA_DIR"]
    assert f"--output {mounted['runs']}/" in container["args"][0]
    # Every claim is made here, or the first lines say whose it is.
    text = (DEPLOY / "kubernetes" / "train.yaml").read_text(encoding="utf-8")
    head = text.partition("apiVersion")[0]
    made = documents["PersistentVolumeClaim"]["metadata"]["name"]
    assert all(claim == made or f"`{claim}` is one of yours" in head for claim in claims.values())


def test_a_pod_of_the_training_is_confined(documents, check_confined):
    pod = documents["Job"]["spec"]["template"]["spec"]
    check_confined(pod)
    # What programs write at home has a place.
    given = {item["name"]: item["value"] for item in pod["containers"][0]["env"]}
    assert {"name": "tmp", "mountPath": given["HOME"]} in pod["containers"][0]["volumeMounts"]


@pytest.mark.skipif(not shutil.which("bash"), reason="There is no bash.")
@pytest.mark.parametrize(
    ("statuses", "runs", "status"),
    [
        ("0", 1, 0),
        ("75 137 0", 3, 0),  # Workers that were lost: from the last checkpoint.
        ("2", 1, 2),  # Bad input.
        ("143", 1, 143),  # Time is up: back into the queue.
        ("1 1 1 1", 3, 1),  # No more restarts.
    ],
)
def test_a_job_of_slurm_goes_on_until_it_is_done(programs, tmp_path, statuses, runs, status):
    srun = """#!/bin/bash
        while [[ $1 == --* ]]; do shift; done
        "$@"
        read -ra left <"$NOTES/statuses"
        echo "${left[@]:1}" >"$NOTES/statuses"
        exit "${left[0]}"
    """
    (tmp_path / "statuses").write_text(statuses + "\n")
    script = DEPLOY / "slurm" / "train.sbatch"
    given = {"SLURM_JOB_ID": "7", "RESTARTS": "2"}
    ends = {"srun": srun, "scontrol": NOTE}
    assert programs("bash", str(script), ends=ends, **given) == status
    assert len((tmp_path / "kvae").read_text().splitlines()) == runs
    check(parsed(tmp_path), "slurm")
    requeued = tmp_path / "scontrol"
    assert requeued.exists() == (status == 143)
    if requeued.exists():
        assert requeued.read_text().split()[1:] == ["requeue", "7"]

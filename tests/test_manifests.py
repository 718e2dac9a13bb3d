"""The form of the manifests in docs/cluster, and their commands; no scheduler has run them.

The schemas have the fields that the manifests use, by the references of JobSet v1alpha2, Kubernetes
1.29 and SkyPilot, and refuse others: a field that is misspelt would be passed over by some of them.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_docs import check, check_main, commands

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "cluster"
SCRIPTS = sorted([*FOLDER.glob("*.sbatch"), *FOLDER.glob("*.sh")])
JOBSETS = sorted(FOLDER.glob("jobset-*.yaml"))

Schema = dict[str, Any]


def fields(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object that has these fields and no others."""
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


def constant(value: str | int) -> Schema:
    return {"const": value}


def some(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


TEXT: Schema = {"type": "string", "minLength": 1}
LABEL: Schema = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}

CONTAINER = fields(
    {
        "name": LABEL,
        "image": TEXT,
        "command": some(TEXT),
        "args": some(TEXT),
        "resources": fields({"limits": {"type": "object", "additionalProperties": COUNT}}),
    },
    {
        "env": some(fields({"name": TEXT, "value": TEXT})),
        "volumeMounts": some(fields({"name": LABEL, "mountPath": TEXT})),
    },
)
POD = fields(
    {"restartPolicy": {"enum": ["Never", "OnFailure"]}, "containers": some(CONTAINER)},
    {
        "terminationGracePeriodSeconds": COUNT,
        "nodeSelector": TEXTS,
        "volumes": some(
            fields({"name": LABEL, "persistentVolumeClaim": fields({"claimName": LABEL})})
        ),
    },
)
JOB = fields(
    {
        "parallelism": COUNT,
        "completions": COUNT,
        "completionMode": constant("Indexed"),  # gives JOB_COMPLETION_INDEX
        "backoffLimit": constant(0),  # the policy of the JobSet decides
        "template": fields({"spec": POD}),
    }
)
JOBSET = fields(
    {
        "apiVersion": constant("jobset.x-k8s.io/v1alpha2"),
        "kind": constant("JobSet"),
        "metadata": fields({"name": LABEL}, {"annotations": TEXTS, "labels": TEXTS}),
        "spec": fields(
            {
                "replicatedJobs": some(
                    fields({"name": LABEL, "replicas": COUNT, "template": fields({"spec": JOB})})
                )
            },
            {"failurePolicy": fields({"maxRestarts": COUNT})},
        ),
    }
)
SKYPILOT = fields(
    {"name": LABEL, "resources": fields({"accelerators": TEXT}), "setup": TEXT, "run": TEXT},
    {
        "num_nodes": COUNT,
        "workdir": TEXT,
        "file_mounts": {
            "type": "object",
            "additionalProperties": fields({"source": TEXT, "mode": constant("MOUNT")}),
        },
    },
)


def load(path: Path) -> Any:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(path.read_text())


def validate(value: Any, schema: Schema) -> None:
    pytest.importorskip("jsonschema", reason="needs jsonschema").validate(value, schema)


def script(path: Path) -> str:
    """The shell script that a manifest holds, or is."""
    if path in SCRIPTS:
        return path.read_text()
    manifest = load(path)
    if path in JOBSETS:
        (container,) = pod(manifest)["containers"]
        return container["args"][0]
    return manifest["run"]


def pod(manifest: Any) -> Any:
    (job,) = manifest["spec"]["replicatedJobs"]
    return job["template"]["spec"]["template"]["spec"]


def flags(path: Path) -> dict[str, str]:
    """Of the command that trains."""
    text = re.sub(r"\\\n\s*", " ", script(path))
    return dict(re.findall(r"--([\w.]+)=([^\s\"]+)", text[text.index("sr_jax.main") :]))


ALL = [*SCRIPTS, *sorted(FOLDER.glob("*.yaml"))]


def test_there_is_one_for_each_way_to_start():
    assert {path.name for path in ALL} == {
        "jobset-gpu.yaml",
        "jobset-tpu.yaml",
        "skypilot.yaml",
        "tpu-pod.sh",
        "train.sbatch",
        "upscale.sbatch",
    }


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_the_shell_reads_it_and_the_program_takes_its_flags(path):
    text = script(path)
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    block = "\n".join(f"    {line}" for line in text.splitlines())
    found = list(commands(f"Text.\n\n{block}\n".replace("\n    \n", "\n    #\n")))
    assert found
    for command in found:
        check(command)


@pytest.mark.parametrize("path", JOBSETS, ids=lambda path: path.name)
def test_a_jobset_has_the_fields_of_one(path):
    manifest = load(path)
    validate(manifest, JOBSET)
    (job,) = manifest["spec"]["replicatedJobs"]
    processes = job["template"]["spec"]["parallelism"]
    assert job["template"]["spec"]["completions"] == processes
    (container,) = pod(manifest)["containers"]
    (devices,) = container["resources"]["limits"].values()
    assert int(flags(path)["config.data.batch_size"]) % (processes * devices) == 0
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod(manifest)["volumes"]}


def test_the_pods_with_gpus_find_each_other():
    path = FOLDER / "jobset-gpu.yaml"
    manifest = load(path)
    (job,), name = manifest["spec"]["replicatedJobs"], manifest["metadata"]["name"]
    given = flags(path)
    host, _, port = given["coordinator"].partition(":")
    assert host == f"{name}-{job['name']}-0-0.{name}"  # pod 0 of job 0, in the JobSet's subdomain
    assert port.isdecimal()
    assert given["num_processes"] == str(job["template"]["spec"]["parallelism"])
    assert given["process_id"] == "$JOB_COMPLETION_INDEX"
    (container,) = pod(manifest)["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    own = list(map(str, range(container["resources"]["limits"]["nvidia.com/gpu"])))
    assert variables["JAX_LOCAL_DEVICE_IDS"].split(",") == own


def test_skypilot():
    manifest = load(FOLDER / "skypilot.yaml")
    validate(manifest, SKYPILOT)
    devices = manifest["num_nodes"] * int(manifest["resources"]["accelerators"].partition(":")[2])
    assert int(flags(FOLDER / "skypilot.yaml")["config.data.batch_size"]) % devices == 0
    subprocess.run(["bash", "-n"], input=manifest["setup"], text=True, check=True)


def test_slurm():
    text = (FOLDER / "train.sbatch").read_text()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", text, re.MULTILINE))
    # One process for each GPU: a process that SLURM starts sees only the one of its local number.
    assert options["ntasks-per-node"] == options["gpus-per-node"]
    devices = int(options["nodes"]) * int(options["gpus-per-node"])
    assert int(flags(FOLDER / "train.sbatch")["config.data.batch_size"]) % devices == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("parallelism: 4", "paralelism: 4"),
        ("replicatedJobs:", "replicatedJob:"),
        ("completionMode: Indexed", "completionMode: NonIndexed"),
        ("google.com/tpu: 4", "google.com/tpu: four"),
        ("v1alpha2", "v1alpha1"),
    ],
)
def test_a_wrong_field_would_be_seen(old, new):
    jsonschema = pytest.importorskip("jsonschema")
    yaml = pytest.importorskip("yaml")
    text = (FOLDER / "jobset-tpu.yaml").read_text()
    assert old in text
    with pytest.raises(jsonschema.ValidationError):
        validate(yaml.safe_load(text.replace(old, new)), JOBSET)


def test_a_wrong_flag_would_be_seen():
    with pytest.raises(AssertionError, match="no flag --cordinator"):
        check_main(["--config=configs/rcan.py", "--cordinator=a:1"])

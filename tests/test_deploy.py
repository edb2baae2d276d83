"""The Helm chart: rendered by Helm's own library, each manifest checked by the schemas of Kubernetes. No cluster is asked."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm_python import Chart, HelmError, lint
from typer.main import get_command

from indexer.cli import app as indexer_app
from indexer.milvus.settings import StoreSettings
from service.settings import ServiceSettings
from trainer.cli import app as trainer_app

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "dowse"
KUBERNETES = ("1.27", "1.37")
"""The oldest version that the chart allows, and the newest whose schemas are known."""
Manifests = dict[tuple[str, str], dict[str, Any]]

SHARED = {
    "service": {"replicas": 3},
    "trainer": {"enabled": False},
    "indexer": {"enabled": False},
    "data": {"existingClaim": "indexes", "readOnly": True},
}
EXTERNAL = {
    "store": {"kind": "milvus", "uri": "http://milvus.search:19530", "existingSecret": "milvus-user"},
    "data": {"accessModes": ["ReadWriteMany"], "storageClass": "nfs"},
    "images": {"registry": "registry.example/search/", "tag": "2026.11", "pullSecrets": ["registry"]},
    "autoscaling": {"enabled": True},
    "ingress": {"enabled": True, "className": "nginx", "host": "search.example", "tlsSecret": "search-tls"},
    "keys": {"file": '{"format": 1, "keys": []}'},
    "corpus": {"source": "postgresql+psycopg://me@db/shop", "query": "select id, text from listings", "idColumn": "id"},
    "indexer": {"envFrom": [{"secretRef": {"name": "database"}}], "args": ["--recall=0.99"]},
}
DEPENDENCY = {"store": {"kind": "milvus", "token": "root:secret"}, "milvus": {"enabled": True}}
VARIATIONS = {"default": {}, "shared": SHARED, "external": EXTERNAL, "dependency": DEPENDENCY}

MILVUS = {
    "Chart.yaml": "apiVersion: v2\nname: milvus\nversion: 5.0.19\n",
    "values.yaml": "service: {port: 19530}\ncluster: {enabled: true}\n",
    # The name is made as Milvus's own chart makes it.
    "templates/service.yaml": """\
apiVersion: v1
kind: Service
metadata:
  name: {{ ternary .Release.Name (printf "%s-milvus" .Release.Name) (contains "milvus" .Release.Name) }}
  annotations: {standalone: "{{ not .Values.cluster.enabled }}"}
spec:
  ports: [{name: milvus, port: {{ .Values.service.port }}}]
""",
}
"""Stands for the chart of Milvus, which is fetched from its repository."""


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart with its dependency, as `helm dependency build` leaves it."""
    folder = tmp_path_factory.mktemp("chart") / "dowse"
    shutil.copytree(CHART, folder)
    for name, text in MILVUS.items():
        path = folder / "charts" / "milvus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def render(chart: Path, values: dict[str, Any], release: str = "search") -> Manifests:
    """Return the manifests of a release by kind and name."""
    with Chart.load(chart) as loaded:
        files = loaded.render(values, name=release, namespace="here", is_install=True)
    manifests = {}
    for path, text in files.items():
        if path.endswith(".yaml"):
            for manifest in filter(None, yaml.safe_load_all(text)):
                manifests[manifest["kind"], manifest["metadata"]["name"]] = manifest
    return manifests


def pods(manifests: Manifests) -> dict[str, dict[str, Any]]:
    """Return the pods of deployments and jobs by their program."""
    return {
        manifest["metadata"]["labels"]["app.kubernetes.io/component"]: manifest["spec"]["template"]["spec"]
        for (kind, _), manifest in manifests.items()
        if kind in ("Deployment", "Job")
    }


def environment(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of a pod's container: texts, or where they come from."""
    variables = pod["containers"][0].get("env", [])
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in variables}


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", VARIATIONS.values(), ids=VARIATIONS.keys())
def test_every_manifest_has_the_fields_of_kubernetes(chart: Path, values: dict[str, Any], version: str) -> None:
    """Unknown fields are refused, too."""
    manifests = render(chart, values)
    assert len(manifests) >= 2
    for manifest in manifests.values():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_manifest_with_an_unknown_field_is_refused(chart: Path) -> None:
    """The check can fail."""
    deployment = render(chart, {})["Deployment", "search-dowse"]
    deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES[0], strict=True)


@pytest.mark.parametrize("values", VARIATIONS.values(), ids=VARIATIONS.keys())
def test_helm_finds_nothing_to_criticise(chart: Path, values: dict[str, Any]) -> None:
    """`helm lint` has no warning."""
    report = lint(chart, values)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []


def test_one_replica_reads_files_by_default(chart: Path) -> None:
    """Without any value there are a volume, the jobs of trainer and indexer, and a service that reads the volume."""
    manifests = render(chart, {})
    assert sorted(kind for kind, _ in manifests) == ["Deployment", "Job", "Job", "PersistentVolumeClaim", "Service"]
    (mount,) = [each for each in pods(manifests)["service"]["containers"][0]["volumeMounts"] if each["name"] == "data"]
    assert mount == {"name": "data", "mountPath": "/data", "readOnly": True}
    assert manifests["Deployment", "search-dowse"]["spec"]["strategy"]["type"] == "Recreate"
    assert "DOWSE_STORE" not in environment(pods(manifests)["service"])


def test_the_indexer_runs_after_the_trainer(chart: Path) -> None:
    """Helm starts the job of the next weight when the one before has ended well; both read the same corpus."""
    manifests = render(chart, EXTERNAL)
    weights = {
        name: int(manifest["metadata"]["annotations"]["helm.sh/hook-weight"])
        for (kind, name), manifest in manifests.items()
        if kind == "Job"
    }
    assert weights == {"search-dowse-trainer": 0, "search-dowse-indexer": 1}
    corpus = [pods(manifests)[program]["containers"][0]["args"][1:5] for program in ("trainer", "indexer")]
    assert corpus[0] == corpus[1]
    assert corpus[0][0] == "postgresql+psycopg://me@db/shop"


def test_jobs_run_beside_the_service_where_only_one_node_can_mount_the_volume(chart: Path) -> None:
    """On another node they would wait for the volume for ever; a shared volume leaves them free."""
    alone, shared = pods(render(chart, {})), pods(render(chart, EXTERNAL))
    for program in ("trainer", "indexer"):
        (term,) = alone[program]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "service"
        assert "affinity" not in shared[program]


def test_replicas_share_a_volume_that_is_read_only(chart: Path) -> None:
    """They are replaced one by one, and nothing of the release writes to the volume."""
    manifests = render(chart, SHARED)
    assert {kind for kind, _ in manifests} == {"Deployment", "Service"}
    deployment = manifests["Deployment", "search-dowse"]["spec"]
    assert deployment["replicas"] == 3
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    volume = deployment["template"]["spec"]["volumes"][0]
    assert volume["persistentVolumeClaim"] == {"claimName": "indexes", "readOnly": True}


def test_service_and_indexer_find_a_milvus_outside(chart: Path) -> None:
    """Address, alias and the Secret's token reach both; the trainer has no use for them."""
    manifests = render(chart, EXTERNAL)
    for program in ("service", "indexer"):
        variables = environment(pods(manifests)[program])
        assert variables["DOWSE_STORE"] == "milvus"
        assert variables["DOWSE_STORE_URI"] == "http://milvus.search:19530"
        assert variables["DOWSE_STORE_TOKEN"] == {"secretKeyRef": {"name": "milvus-user", "key": "token"}}
    assert environment(pods(manifests)["trainer"]) == {}
    assert ("Service", "search-milvus") not in manifests
    assert pods(manifests)["indexer"]["containers"][0]["image"] == "registry.example/search/dowse-indexer:2026.11"


def test_the_autoscaler_decides_about_replicas(chart: Path) -> None:
    """A number in the Deployment would set them back at each upgrade."""
    manifests = render(chart, EXTERNAL)
    assert "replicas" not in manifests["Deployment", "search-dowse"]["spec"]
    assert ("HorizontalPodAutoscaler", "search-dowse") in manifests


def test_keys_are_mounted_from_their_secret(chart: Path) -> None:
    """With keys, none of the pods is told to go without."""
    manifests = render(chart, EXTERNAL)
    assert manifests["Secret", "search-dowse-keys"]["stringData"] == {"keys.json": EXTERNAL["keys"]["file"]}
    service = pods(manifests)["service"]
    assert "DOWSE_INSECURE" not in environment(service)
    path = Path(environment(service)["DOWSE_KEYS"])
    mounts = {each["mountPath"]: each["name"] for each in service["containers"][0]["volumeMounts"]}
    (volume,) = [each for each in service["volumes"] if each["name"] == mounts[str(path.parent)]]
    assert volume["secret"]["secretName"] == "search-dowse-keys"
    assert volume["secret"]["items"] == [{"key": "keys.json", "path": path.name}]


@pytest.mark.parametrize("release", ["search", "my-milvus"])
def test_milvus_of_the_release_is_found(chart: Path, release: str) -> None:
    """The address is that of the dependency's Service, and Milvus is a single server unless asked otherwise."""
    manifests = render(chart, DEPENDENCY, release)
    address = environment(pods(manifests)["service"])["DOWSE_STORE_URI"]
    name, port = re.fullmatch(r"http://([a-z-]+):(\d+)", address).groups()
    milvus = manifests["Service", name]
    assert milvus["spec"]["ports"][0]["port"] == int(port)
    assert milvus["metadata"]["annotations"] == {"standalone": "true"}
    secrets = [manifest["stringData"] for (kind, _), manifest in manifests.items() if kind == "Secret"]
    assert secrets == [{"token": "root:secret"}]


@pytest.mark.parametrize("values", VARIATIONS.values(), ids=VARIATIONS.keys())
def test_no_container_has_rights_or_writes_to_its_image(chart: Path, values: dict[str, Any]) -> None:
    """User, capabilities, file system, token of the cluster's API, memory: as strict as the containers of Compose."""
    for pod in pods(render(chart, values)).values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            assert "/tmp" in [each["mountPath"] for each in container["volumeMounts"]]  # noqa: S108 - the only writable one


def test_flags_variables_and_images_exist(chart: Path) -> None:
    """What the chart gives to the programs is what they take."""
    known = {
        (field.json_schema_extra or {}).get("env")
        for settings in (ServiceSettings, StoreSettings)
        for field in settings.model_fields.values()
    }
    stages = re.findall(r"^FROM \S+ AS (\w+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    for values in VARIATIONS.values():
        for program, pod in pods(render(chart, values)).items():
            container = pod["containers"][0]
            assert set(environment(pod)) <= known
            assert re.search(r"dowse-(\w+):", container["image"])[1] == program
            assert program in stages
            if program != "service":
                app = {"trainer": trainer_app, "indexer": indexer_app}[program]
                command = get_command(app).commands[container["args"][0]]
                flags = {flag for parameter in command.params for flag in parameter.opts}
                assert {arg.split("=")[0] for arg in container["args"] if arg.startswith("--")} <= flags


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"service": {"replicas": 2}}, "data.accessModes"),
        ({"autoscaling": {"enabled": True}}, "data.accessModes"),
        ({"store": {"kind": "milvus"}}, "store.uri, or milvus.enabled"),
        ({"milvus": {"enabled": True}}, "needs store.kind: milvus"),
        (DEPENDENCY | {"store": {"kind": "milvus", "uri": "http://m:1"}}, "a Milvus that is there already"),
        ({"service": {"type": "LoadBalancer"}}, "keys.existingSecret"),
        ({"ingress": {"enabled": True, "host": "search.example"}}, "keys.existingSecret"),
        ({"ingress": {"enabled": True}, "keys": {"insecure": True}}, "needs ingress.host"),
        ({"service": {"writable": True, "replicas": 2}, "data": {"existingClaim": "indexes"}}, "replicas: 1"),
        (EXTERNAL | {"autoscaling": {}, "service": {"writable": True}}, "takes no writes"),
        ({"data": {"readOnly": True, "existingClaim": "indexes"}}, "they write to the volume"),
        ({"service": {"replica": 2}}, "replica"),
        ({"store": {"kind": "faiss"}}, "kind"),
        ({"service": {"settings": {"DOWSE_DATA": "/elsewhere"}}}, "DOWSE_DATA"),
        ({"service": {"settings": {"DOWSE_QUEUE": 64}}}, "DOWSE_QUEUE"),
    ],
)
def test_values_that_do_not_go_together_are_refused(chart: Path, values: dict[str, Any], reason: str) -> None:
    """The message names the value that is to be changed."""
    with pytest.raises(HelmError, match=re.escape(reason)):
        render(chart, values)


def test_commands_of_the_guides_render(chart: Path) -> None:
    """Every `helm install` of the guides sets values that exist and go together."""
    commands = []
    for guide in ("cluster.md", "scale.md", "operate.md"):
        text = (ROOT / "docs" / "guides" / guide).read_text(encoding="utf-8").replace("\\\n", " ")
        commands += re.findall(r"^\$ helm install (.*)$", text, re.MULTILINE)
    assert len(commands) >= 6
    for command in commands:
        values: dict[str, Any] = {}
        for word in re.findall(r"--set '?([^' ]+)", command):
            path, text = word.split("=", 1)
            *groups, name = path.split(".")
            inner = values
            for group in groups:
                inner = inner.setdefault(group, {})
            inner[name] = text.strip("{}").split(",") if text.startswith("{") else yaml.safe_load(text)
        assert ("Deployment", "search-dowse") in render(chart, values), command


def test_every_value_is_explained() -> None:
    """Each value has a line of its own or one above its group; the schema knows the same names."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    blocks = re.split(r"\n\n", text)
    unexplained = [block for block in blocks if not block.lstrip().startswith("#") and "SecurityContext" not in block
                   and not block.startswith("securityContext")]  # fmt: skip
    assert unexplained == []
    with Chart.load(CHART) as loaded:
        values, schema = loaded.values, loaded.schema

    def same(tree: dict[str, Any], part: dict[str, Any], path: str = "") -> None:
        if part.get("additionalProperties") is False:
            assert set(part["properties"]) - {"global"} == set(tree), path
            for name, value in tree.items():
                if isinstance(value, dict):
                    same(value, part["properties"][name], f"{path}.{name}")

    same(values, schema)

"""Jobs: defaults, the selector they give themselves, rules of the spec, what may change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from timonel.api import refs
from timonel.api.objects import Object, copy_object

from .samples import changed, created, findings, strategy, update_findings

UID = "11111111-2222-3333-4444-555555555555"
GENERATED = {
    "batch.kubernetes.io/controller-uid": UID, "controller-uid": UID,
    "batch.kubernetes.io/job-name": "pi", "job-name": "pi",
}  # fmt: skip
ONLY_INDEXED = "requires indexed completion mode"


def job(name: str = "pi", **spec: Any) -> Object:
    return {
        "kind": "Job", "apiVersion": "batch/v1",
        "metadata": {"name": name, "namespace": "default", "uid": UID},
        "spec": {
            "template": {
                "metadata": {}, "spec": {"containers": [{"name": "pi", "image": "perl"}], "restartPolicy": "Never"},
            },
            **spec,
        },
    }  # fmt: skip


def indexed(**spec: Any) -> Object:
    return job(**{"completionMode": "Indexed", "completions": 5, **spec})


def failure_rule(**rule: Any) -> Object:
    return {"podFailurePolicy": {"rules": [{"action": "FailJob", **rule}]}}


def test_defaults() -> None:
    spec = created(refs.JOBS, job())["spec"]
    fields = ("completions", "parallelism", "backoffLimit", "completionMode", "suspend", "podReplacementPolicy",
              "manualSelector")  # fmt: skip
    assert {field: spec[field] for field in fields} == {
        "completions": 1, "parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False,
        "podReplacementPolicy": "TerminatingOrFailed", "manualSelector": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"parallelism": 3}, {"parallelism": 3, "completions": None}),
        ({"completions": 3}, {"parallelism": 1, "completions": 3}),
        ({"backoffLimitPerIndex": 1}, {"backoffLimit": 2147483647}),
        ({"podFailurePolicy": {"rules": []}}, {"podReplacementPolicy": "Failed"}),
    ],
)
def test_defaults_depend_on_one_another(given: Object, expected: Object) -> None:
    spec = created(refs.JOBS, job(**given))["spec"]
    assert {field: spec.get(field) for field in expected} == expected


def test_condition_patterns_are_about_true() -> None:
    obj = created(refs.JOBS, job(**failure_rule(onPodConditions=[{"type": "DisruptionTarget"}])))
    assert obj["spec"]["podFailurePolicy"]["rules"][0]["onPodConditions"] == [
        {"type": "DisruptionTarget", "status": "True"}
    ]


def test_selector_is_generated() -> None:
    obj = created(refs.JOBS, job())
    assert obj["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": UID}}
    assert obj["spec"]["template"]["metadata"]["labels"] == GENERATED
    assert obj["metadata"]["labels"] == GENERATED
    assert obj["status"] == {}
    # Also when read or written again.
    del obj["metadata"]["labels"]
    strategy(refs.JOBS).default(obj)
    assert obj["metadata"]["labels"] == GENERATED


def test_own_labels_stay() -> None:
    obj = job()
    obj["metadata"]["labels"] = {"mine": "1"}
    assert created(refs.JOBS, obj)["metadata"]["labels"] == {"mine": "1"}


def test_manual_selector() -> None:
    obj = job(manualSelector=True, selector={"matchLabels": {"app": "pi"}})
    obj["spec"]["template"]["metadata"]["labels"] = {"app": "pi"}
    made = created(refs.JOBS, obj)
    assert made["spec"]["selector"] == {"matchLabels": {"app": "pi"}}
    assert made["metadata"]["labels"] == {"app": "pi"}
    assert findings(refs.JOBS, obj) == []
    assert findings(refs.JOBS, job(manualSelector=True)) == [
        "spec.selector: Required value",
        "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
    ]


def test_labels_that_contradict_the_generated_selector() -> None:
    obj = job()
    obj["spec"]["template"]["metadata"]["labels"] = {"controller-uid": "other"}
    (finding,) = findings(refs.JOBS, obj)
    assert finding.startswith("spec.template.metadata.labels[controller-uid]: Invalid value: {")
    assert finding.endswith(f": must be '{UID}'")


def test_selector_that_is_not_generated() -> None:
    obj = job(selector={"matchLabels": {"app": "pi"}})
    selector = f'{{"matchLabels":{{"app":"pi","batch.kubernetes.io/controller-uid":"{UID}"}}}}'
    found = findings(refs.JOBS, obj)
    assert found[0] == f"spec.selector: Invalid value: {selector}: `selector` not auto-generated"
    assert found[1].endswith("`selector` does not match template `labels`")


POLICY = "spec.podFailurePolicy.rules[0]"
CASES: list[tuple[Object, list[str]]] = [
    (job(), []),
    (indexed(), []),
    (
        job(parallelism=-1, completions=-1, backoffLimit=-1, activeDeadlineSeconds=-1, ttlSecondsAfterFinished=-1),
        [
            f"spec.{field}: Invalid value: -1: must be greater than or equal to 0"
            for field in ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit",
                          "ttlSecondsAfterFinished")
        ],
    ),
    (
        job(backoffLimitPerIndex=1, maxFailedIndexes=1),
        [
            f"spec.backoffLimitPerIndex: Invalid value: 1: {ONLY_INDEXED}",
            f"spec.maxFailedIndexes: Invalid value: 1: {ONLY_INDEXED}",
        ],
    ),
    (
        indexed(maxFailedIndexes=1),
        ["spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified"],
    ),
    (
        indexed(backoffLimitPerIndex=1, maxFailedIndexes=6),
        ["spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions"],
    ),
    (indexed(backoffLimitPerIndex=1, maxFailedIndexes=5), []),
    (
        job(completionMode="Indexed", parallelism=1),
        ["spec.completions: Required value: when completion mode is Indexed"],
    ),
    (
        indexed(parallelism=100_001),
        ["spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is "
         "Indexed"],
    ),
    (
        indexed(completions=100_001, backoffLimitPerIndex=1, parallelism=10_001),
        [
            "spec.maxFailedIndexes: Required value: must be specified when completions is above 100000",
            "spec.parallelism: Invalid value: 10001: must be less than or equal to 10000 when completions are above "
            "100000 and used with backoff limit per index",
        ],
    ),
    (
        indexed(completions=200_000, backoffLimitPerIndex=1, maxFailedIndexes=100_001),
        [
            "spec.maxFailedIndexes: Invalid value: 100001: must be less than or equal to 100000",
            "spec.maxFailedIndexes: Invalid value: 100001: must be less than or equal to 10000 when completions are "
            "above 100000 and used with backoff limit per index",
        ],
    ),
    (
        job(completionMode="Random"),
        ['spec.completionMode: Unsupported value: "Random": supported values: "NonIndexed", "Indexed"'],
    ),
    (job(managedBy="example.com/queue"), []),
    (
        job(managedBy="queue"),
        ['spec.managedBy: Invalid value: "queue": must be a domain-prefixed path (such as "acme.io/foo")'],
    ),
    (
        job(managedBy=f"example.com/{'q' * 52}"),
        ["spec.managedBy: Too long: may not be more than 63 bytes"],
    ),
    (
        job(managedBy="example.com/a b"),
        ["spec.managedBy: Invalid value: \"a b\": Invalid path (regex used for validation is "
         r"'[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')"],
    ),
    # Pod failure policy.
    (job(**failure_rule(onExitCodes={"operator": "In", "values": [1, 42]})), []),
    (
        job(**failure_rule(action="", onExitCodes={"operator": "", "values": []})),
        [
            f'{POLICY}.action: Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]',
            f'{POLICY}.onExitCodes.operator: Required value: valid values: ["In" "NotIn"]',
            f"{POLICY}.onExitCodes.values: Invalid value: []: at least one value is required",
        ],
    ),
    (
        job(**failure_rule(action="Cry", onExitCodes={"operator": "Near", "values": [1], "containerName": "x"})),
        [
            f'{POLICY}.action: Unsupported value: "Cry": supported values: "Count", "FailIndex", "FailJob", "Ignore"',
            f'{POLICY}.onExitCodes.operator: Unsupported value: "Near": supported values: "In", "NotIn"',
            f'{POLICY}.onExitCodes.containerName: Invalid value: "x": must be one of the container or initContainer '
            "names in the pod template",
        ],
    ),
    (
        job(**failure_rule(onExitCodes={"operator": "In", "values": [3, 0, 3]})),
        [
            f"{POLICY}.onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
            f"{POLICY}.onExitCodes.values[2]: Duplicate value: 3",
            f"{POLICY}.onExitCodes.values: Invalid value: [3,0,3]: must be ordered",
        ],
    ),
    (job(**failure_rule(onExitCodes={"operator": "NotIn", "values": [0]})), []),
    (
        job(**failure_rule(onExitCodes={"operator": "In", "values": list(range(1, 257))})),
        [f"{POLICY}.onExitCodes.values: Too many: 256: must have at most 255 items"],
    ),
    (
        job(**failure_rule(action="FailIndex", onExitCodes={"operator": "In", "values": [1]})),
        [f'{POLICY}.action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set'],
    ),
    (
        job(**failure_rule()),
        [f"{POLICY}: Invalid value: specifying one of OnExitCodes and OnPodConditions is required"],
    ),
    (
        job(**failure_rule(onExitCodes={"operator": "In", "values": [1]}, onPodConditions=[{"type": "A"}])),
        [f"{POLICY}: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported"],
    ),
    (
        job(**failure_rule(onPodConditions=[{"type": "A", "status": "Maybe"}])),
        [f'{POLICY}.onPodConditions[0].status: Unsupported value: "Maybe": supported values: "False", "True", '
         '"Unknown"'],
    ),
    (
        job(podFailurePolicy={"rules": [{"action": "Ignore", "onPodConditions": [{"type": "A"}]}] * 21}),
        ["spec.podFailurePolicy.rules: Too many: 21: must have at most 20 items"],
    ),
    (
        job(podReplacementPolicy="TerminatingOrFailed", podFailurePolicy={"rules": []}),
        ['spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"'],
    ),
    (
        job(podReplacementPolicy="Never"),
        ['spec.podReplacementPolicy: Unsupported value: "Never": supported values: "Failed", "TerminatingOrFailed"'],
    ),
    # Success policy.
    (indexed(successPolicy={"rules": [{"succeededIndexes": "0,2-4", "succeededCount": 3}]}), []),
    (
        job(successPolicy={"rules": []}),
        [f'spec.successPolicy: Invalid value: {{"Rules":[]}}: {ONLY_INDEXED}'],
    ),
    (
        indexed(successPolicy={"rules": []}),
        ["spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is "
         "specified"],
    ),
    (
        indexed(successPolicy={"rules": [{}]}),
        ["spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be "
         "specified"],
    ),
    (
        indexed(successPolicy={"rules": [{"succeededCount": 6}]}),
        ["spec.successPolicy.rules[0].succeededCount: Invalid value: 6: must be less than or equal to 5 (the number of "
         "specified completions)"],
    ),
    (
        indexed(successPolicy={"rules": [{"succeededCount": 3, "succeededIndexes": "0-1"}]}),
        ["spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of "
         "indexes in the specified succeededIndexes field)"],
    ),
    *(
        (
            indexed(successPolicy={"rules": [{"succeededIndexes": text}]}),
            [f'spec.successPolicy.rules[0].succeededIndexes: Invalid value: "{text}": error parsing succeededIndexes: '
             f"{why}"],
        )
        for text, why in (
            ("5", 'too large index: "5"'),
            ("0-5", 'too large index: "5"'),
            ("a", 'cannot convert string to integer for index: "a"'),
            ("0,", 'cannot convert string to integer for index: ""'),
            ("3-1", "non-increasing order, previous: 3, current: 1"),
            ("1-3,2", "non-increasing order, previous: 3, current: 2"),
            ("1-2-3", 'the fragment "1-2-3" violates the requirement that an index interval can have at most two parts '
                      "separated by '-'"),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("obj", "expected"), CASES, ids=lambda value: str(value)[-60:])
def test_rules(obj: Object, expected: list[str]) -> None:
    assert findings(refs.JOBS, obj) == expected


@pytest.mark.parametrize(
    ("policy", "spec", "expected"),
    [
        ("", {}, ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"']),
        ("Always", {}, ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"']),
        ("OnFailure", {}, []),
        (
            "OnFailure",
            {"podFailurePolicy": {"rules": []}},
            ['spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when '
             "podFailurePolicy is specified"],
        ),
    ],
)  # fmt: skip
def test_pods_of_jobs_end(policy: str, spec: Object, expected: list[str]) -> None:
    obj = job(**spec)
    obj["spec"]["template"]["spec"]["restartPolicy"] = policy
    assert findings(refs.JOBS, obj) == expected


def test_names_of_indexed_jobs_leave_room_for_the_index() -> None:
    name = "j" * 62
    assert findings(refs.JOBS, job(name)) == []
    assert findings(refs.JOBS, job(name, completionMode="Indexed", completions=5)) == [
        f'metadata.name: Invalid value: "{name}": will not able to create pod with invalid DNS label: {name}-4'
    ]


def template(field: str, value: Any) -> Callable[[Object], None]:
    return changed("spec", "template", "spec", field, to=value)


ALLOWED = [
    changed("spec", "parallelism", to=3),
    changed("spec", "suspend", to=True),
    changed("spec", "activeDeadlineSeconds", to=9),
    changed("spec", "backoffLimit", to=9),
    changed("spec", "ttlSecondsAfterFinished", to=9),
    changed("metadata", "labels", "a", to="b"),
]


@pytest.mark.parametrize("change", ALLOWED)
def test_what_may_change(change: Callable[[Object], Any]) -> None:
    assert update_findings(refs.JOBS, job(), change) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (changed("spec", "completions", to=3), "spec.completions: Invalid value: 3: field is immutable"),
        (changed("spec", "completions", to=None), "spec.completions: Invalid value: null: field is immutable"),
        (
            changed("spec", "managedBy", to="a.b/c"),
            'spec.managedBy: Invalid value: "a.b/c": field is immutable',
        ),
        (
            changed("spec", "podFailurePolicy", to={"rules": []}),
            'spec.podFailurePolicy: Invalid value: {"Rules":[]}: field is immutable',
        ),
    ],
)
def test_what_may_not_change(change: Callable[[Object], Any], expected: str) -> None:
    assert expected in update_findings(refs.JOBS, job(), change)


def test_no_retries_per_index_is_not_the_same_as_no_such_limit() -> None:
    assert update_findings(refs.JOBS, indexed(), changed("spec", "backoffLimitPerIndex", to=0)) == [
        "spec.backoffLimitPerIndex: Invalid value: 0: field is immutable"
    ]


def test_template_is_immutable() -> None:
    found = update_findings(refs.JOBS, job(), changed("spec", "template", "spec", "nodeSelector", to={"a": "b"}))
    assert [finding.partition(": Invalid value: ")[0] for finding in found] == ["spec.template"]
    assert found[0].endswith(": field is immutable")


def test_indexed_jobs_are_scaled_in_tandem() -> None:
    def scale(obj: Object) -> None:
        obj["spec"].update(completions=9, parallelism=9)

    assert update_findings(refs.JOBS, indexed(), scale) == []
    assert update_findings(refs.JOBS, indexed(), changed("spec", "completions", to=9)) == [
        "spec.completions: Invalid value: 9: can only be modified in tandem with spec.parallelism"
    ]


def suspended(change: Callable[[Object], Any], **status: Any) -> list[str]:
    jobs = strategy(refs.JOBS)
    old = created(refs.JOBS, job(suspend=True))
    old["status"] = status
    new = copy_object(old)
    change(new)
    jobs.default(new)
    return [str(error) for error in jobs.validate_update(new, old)]


DIRECTIVES = [
    template("nodeSelector", {"a": "b"}),
    template("tolerations", [{"key": "a", "operator": "Exists"}]),
    template("schedulingGates", [{"name": "a/b"}]),
    template("affinity", {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}]}}),
    changed("spec", "template", "metadata", "annotations", to={"a": "b"}),
    changed("spec", "template", "metadata", "labels", "a", to="b"),
    changed("spec", "template", "spec", "containers", 0, "resources", to={"requests": {"cpu": "1"}}),
]  # fmt: skip


@pytest.mark.parametrize("change", DIRECTIVES)
def test_suspended_jobs_may_be_placed_elsewhere(change: Callable[[Object], Any]) -> None:
    assert suspended(change) == []
    stopped = [{"type": "Suspended", "status": "True"}]
    assert suspended(change, startTime="2026-03-01T12:00:00Z", conditions=stopped) == []
    # Not while pods run, nor before the controller has stopped them.
    for status in ({"active": 1}, {"startTime": "2026-03-01T12:00:00Z"}):
        assert [finding.partition(": ")[0] for finding in suspended(change, **status)] == ["spec.template"]


@pytest.mark.parametrize(
    "change",
    [
        changed("spec", "template", "spec", "containers", 0, "image", to="other"),
        template("priorityClassName", "high"),
        template("affinity", {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {}}}]}}),
    ],
)  # fmt: skip
def test_suspended_jobs_still_run_the_same(change: Callable[[Object], Any]) -> None:
    found = suspended(change)
    assert [finding.partition(": ")[0] for finding in found] == ["spec.template.spec"]
    assert found[0].endswith(": field is immutable")


def test_warnings() -> None:
    obj = created(refs.JOBS, job("a.b", completionMode="Indexed", completions=100_001, parallelism=10_001))
    assert strategy(refs.JOBS).warnings(obj, None) == [
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label "
        "is recommended: [must not contain dots]",
        "spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, "
        "Kubernetes might not be able to track completedIndexes when a big number of indexes fail",
    ]
    assert strategy(refs.JOBS).warnings(obj, obj) == []


def test_dependents_are_orphaned_unless_said_otherwise() -> None:
    assert strategy(refs.JOBS).orphans_dependents
    assert strategy(refs.REPLICATION_CONTROLLERS).orphans_dependents
    assert not strategy(refs.CRON_JOBS).orphans_dependents

"""Claims for devices, their templates, classes and slices."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api import refs
from timonel.api.objects import Object, copy_object
from timonel.api.resource import Occasion

from .samples import NOW, ago, cells, changed, created, findings, status_findings, strategy, update_findings

REQUEST = "spec.devices.requests[0]"
ASKED = f"{REQUEST}.exactly"
NO_REQUEST = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
ONE_KIND = "exactly one of `exactly` or `firstAvailable` is required"


def named(name: str = "x", **fields: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "default", "creationTimestamp": ago(hours=3)}, **fields}


def claim(*requests: Object, **devices: Any) -> Object:
    requests = requests or ({"name": "gpu", "exactly": {"deviceClassName": "gpu.example"}},)
    return named(spec={"devices": {"requests": list(requests), **devices}})


def asking(**exactly: Any) -> Object:
    return claim({"name": "gpu", "exactly": {"deviceClassName": "gpu.example", **exactly}})


OPAQUE = {"opaque": {"driver": "d.example", "parameters": {"a": 1}}}


def test_requests_ask_for_one_device() -> None:
    alternatives = [
        {"name": "big", "deviceClassName": "c"},
        {"name": "all", "deviceClassName": "c", "allocationMode": "All"},
    ]
    devices = created(refs.RESOURCE_CLAIMS, claim({"name": "gpu", "firstAvailable": alternatives}))["spec"]["devices"]
    first, second = devices["requests"][0]["firstAvailable"]
    assert (first["allocationMode"], first["count"]) == ("ExactCount", 1)
    assert "count" not in second
    template = created(refs.RESOURCE_CLAIM_TEMPLATES, named(spec={"spec": asking()["spec"]}))
    assert template["spec"]["spec"]["devices"]["requests"][0]["exactly"]["count"] == 1


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (claim(), []),
        (claim({"name": "a"}), [f"{REQUEST}: Required value: {ONE_KIND}"]),
        (
            claim({"name": "a", "exactly": {}, "firstAvailable": [{}]}),
            [f"{REQUEST}: Invalid value: null: {ONE_KIND}, but multiple fields are set"],
        ),
        (asking(deviceClassName=""), [f"{ASKED}.deviceClassName: Required value"]),
        (asking(allocationMode="All", count=2),
         [f"{ASKED}.count: Invalid value: 2: must not be specified when allocationMode is 'All'"]),
        (asking(count=-1), [f"{ASKED}.count: Invalid value: -1: must be greater than zero"]),
        (
            asking(allocationMode="Some"),
            [f'{ASKED}.allocationMode: Unsupported value: "Some": supported values: "All", "ExactCount"'],
        ),
        (asking(selectors=[{}]), [f"{ASKED}.selectors[0].cel: Required value"]),
        (asking(selectors=[{"cel": {"expression": "x" * 10241}}]),
         [f"{ASKED}.selectors[0].cel.expression: Too long: may not be more than 10240 bytes"]),
        (asking(selectors=[{"cel": {"expression": "true"}}] * 33),
         [f"{ASKED}.selectors: Too many: 33: must have at most 32 items"]),
        (
            asking(tolerations=[{"operator": "Exists", "value": "a"}, {"key": "a", "effect": "Odd"}]),
            [
                f'{ASKED}.tolerations[0].value: Invalid value: "a": must be empty for operator `Exists`',
                f'{ASKED}.tolerations[1].effect: Unsupported value: "Odd": supported values: "NoExecute", '
                '"NoSchedule", "None"',
            ],
        ),
        (claim(*claim()["spec"]["devices"]["requests"] * 2),
         ['spec.devices.requests[1]: Duplicate value: "gpu"']),
        (
            claim(constraints=[{"requests": ["gpu", "nic"], "matchAttribute": "model"}, {}]),
            [
                f'spec.devices.constraints[0].requests[1]: Invalid value: "nic": {NO_REQUEST}',
                'spec.devices.constraints[0].matchAttribute: Invalid value: "model": a fully qualified name must be a '
                "domain and a name separated by a slash",
                'spec.devices.constraints[1]: Required value: exactly one of "matchAttribute" or "distinctAttribute" '
                "is required, but multiple fields are set",
            ],
        ),
        (claim(constraints=[{"matchAttribute": "d.example/model"}]), []),
        (claim(config=[OPAQUE]), []),
        (
            claim(config=[
                {}, {"opaque": {"driver": "d.example", "parameters": [1]}}, {"requests": ["gpu/big"], **OPAQUE},
            ]),
            [
                "spec.devices.config[0].opaque: Required value",
                'spec.devices.config[1].opaque.parameters: Invalid value: "<value omitted>": must be a valid JSON '
                "object",
                f'spec.devices.config[2].requests[0]: Invalid value: "gpu/big": {NO_REQUEST}',
            ],
        ),
    ],
)  # fmt: skip
def test_claims(obj: Object, expected: list[str]) -> None:
    assert findings(refs.RESOURCE_CLAIMS, obj) == expected


def test_alternatives_are_named_with_their_request() -> None:
    request = {"name": "gpu", "firstAvailable": [{"name": "big", "deviceClassName": "c"}]}
    assert findings(refs.RESOURCE_CLAIMS, claim(request, config=[{"requests": ["gpu/big"], **OPAQUE}])) == []


def test_what_is_asked_does_not_change() -> None:
    change = changed("spec", "devices", "requests", 0, "name", to="other")
    found = update_findings(refs.RESOURCE_CLAIMS, claim(), change)
    assert [text.rpartition(": ")[2] for text in found] == ["field is immutable"]
    template = named(spec={"spec": claim()["spec"]})
    found = update_findings(refs.RESOURCE_CLAIM_TEMPLATES, template, changed("spec", "spec", to={}))
    assert found == ['spec: Invalid value: {"spec":{}}: field is immutable']


RESULT = {"request": "gpu", "driver": "d.example", "pool": "n1", "device": "gpu-0"}
DEVICE = {"driver": "d.example", "pool": "n1", "device": "gpu-0"}
POD = {"resource": "pods", "name": "web", "uid": "1"}


def allocated(**status: Any) -> Object:
    obj = created(refs.RESOURCE_CLAIMS, claim())
    obj["status"] = {"allocation": {"devices": {"results": [dict(RESULT)]}}, **status}
    return obj


def given(**status: Any) -> list[str]:
    """What is said when a claim gets this status."""
    return status_findings(refs.RESOURCE_CLAIMS, created(refs.RESOURCE_CLAIMS, claim()), changed("status", to=status))


def test_allocation() -> None:
    allocation = {"devices": {"results": [dict(RESULT)]}}
    assert given(allocation=allocation, reservedFor=[POD], devices=[DEVICE]) == []
    assert given(reservedFor=[POD]) == [
        "status.reservedFor: Forbidden: may not be specified when `allocated` is not set"
    ]
    assert given(allocation=allocation, reservedFor=[POD, POD, {}]) == [
        "status.reservedFor[2].resource: Required value", "status.reservedFor[2].name: Required value",
        "status.reservedFor[2].uid: Required value", 'status.reservedFor[1]: Duplicate value: "1"',
    ]  # fmt: skip
    wrong = {**RESULT, "request": "nic", "pool": "", "shareID": "A", "bindingFailureConditions": ["a"]}
    path = "status.allocation.devices.results[0]"
    assert given(allocation={"devices": {"results": [wrong], "config": [{"source": "Sky", **OPAQUE}]}}) == [
        f'{path}.request: Invalid value: "nic": {NO_REQUEST}',
        f"{path}.pool: Required value",
        f"{path}.bindingConditions: Invalid value: null: bindingConditions are required to use "
        "bindingFailureConditions",
        f'{path}.shareID: Invalid value: "A": error validating uid: badly formed hexadecimal UUID string',
        'status.allocation.devices.config[0].source: Unsupported value: "Sky": supported values: "FromClaim", '
        '"FromClass"',
    ]


def test_an_allocation_is_replaced_only_by_none() -> None:
    other = {"devices": {"results": [{**RESULT, "device": "gpu-1"}]}}
    found = status_findings(refs.RESOURCE_CLAIMS, allocated(), changed("status", "allocation", to=other))
    assert [text.rpartition(": ")[2] for text in found] == ["field is immutable"]
    assert status_findings(refs.RESOURCE_CLAIMS, allocated(), changed("status", "allocation", to=None)) == []


def test_a_claim_that_goes_takes_no_new_consumers() -> None:
    old = allocated(reservedFor=[POD])
    old["metadata"]["deletionTimestamp"] = ago()
    more = changed("status", "reservedFor", to=[POD, {**POD, "uid": "2"}])
    assert status_findings(refs.RESOURCE_CLAIMS, old, more) == [
        "status.reservedFor: Forbidden: new entries may not be added while `deallocationRequested` or "
        "`deletionTimestamp` are set"
    ]
    assert status_findings(refs.RESOURCE_CLAIMS, old, changed("status", "reservedFor", to=[])) == []


def test_what_drivers_say_goes_with_the_device() -> None:
    old = allocated(devices=[dict(DEVICE)])
    new = copy_object(old)
    del new["status"]["allocation"]
    strategy(refs.RESOURCE_CLAIMS).prepare_status_update(new, old)
    assert new["status"] == {}


def test_device_status() -> None:
    allocation = {"devices": {"results": [dict(RESULT)]}}
    network = {"interfaceName": "x" * 257, "ips": ["10.0.0.5/24", "10.0.0.05/24"]}
    device = {**DEVICE, "data": [1], "networkData": network}
    assert given(allocation=allocation, devices=[device, {**DEVICE, "device": "gpu-9"}]) == [
        'status.devices[0].data: Invalid value: "<value omitted>": must be a valid JSON object',
        "status.devices[0].networkData.interfaceName: Too long: may not be more than 256 bytes",
        'status.devices[0].networkData.ips[1]: Invalid value: "10.0.0.05/24": must be in canonical form '
        '("10.0.0.5/24")',
        'status.devices[1]: Invalid value: "d.example/n1/gpu-9": must be an allocated device in the claim',
    ]


def test_classes() -> None:
    obj = named(spec={"selectors": [{}], "config": [{}], "extendedResourceName": "gpu"})
    assert findings(refs.DEVICE_CLASSES, obj) == [
        "spec.selectors[0].cel: Required value", "spec.config[0].opaque: Required value",
        'spec.extendedResourceName: Invalid value: "gpu": must be a valid extended resource name',
    ]  # fmt: skip
    assert findings(refs.DEVICE_CLASSES, named(spec={"extendedResourceName": "d.example/gpu"})) == []


def offered(*devices: Object, **spec: Any) -> Object:
    pool = {"name": "n1", "generation": 1, "resourceSliceCount": 1}
    reach = {} if spec else {"nodeName": "n1"}
    return named(spec={"driver": "d.example", "pool": pool, "devices": list(devices), **reach, **spec})


def device(**fields: Any) -> Object:
    return offered({"name": "gpu-0", **fields})


D = "spec.devices[0]"
ONE_REACH = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"


def policy(**fields: Any) -> Object:
    return device(allowMultipleAllocations=True, capacity={"memory": {"value": "10Gi", "requestPolicy": fields}})


POLICY = f"{D}.capacity[memory].requestPolicy"


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (device(attributes={"model": {"string": "a"}, "d.example/fw": {"version": "1.2.3-rc.1"}}), []),
        (offered(nodeName=""),
         ['spec.nodeName: Invalid value: "": must be either unset or set to a non-empty string',
          f"spec: Required value: {ONE_REACH}"]),
        (
            offered(nodeName="n1", allNodes=True),
            [f'spec: Invalid value: "{{`nodeName`, `allNodes`}}": {ONE_REACH}, but multiple fields are set'],
        ),
        (offered(*[{"name": f"g{number}"} for number in range(129)]),
         ["spec.devices: Too many: 129: must have at most 128 items"]),
        (offered(*[{"name": f"g{number}", "attributes": {"a": {"ints": [1]}}} for number in range(65)]),
         ["spec.devices: Too many: 65: must have at most 64 items"]),
        (
            device(attributes={
                "a": {}, "b": {"int": 1, "bool": True}, "c": {"version": "1"}, "d": {"string": "x" * 65},
            }),
            [
                f'{D}.attributes[a]: Invalid value: "": exactly one value must be specified',
                f'{D}.attributes[b]: Invalid value: {{"int":1,"bool":true}}: exactly one value must be specified',
                f'{D}.attributes[c].version: Invalid value: "1": must be a string compatible with semver.org spec '
                "2.0.0",
                f"{D}.attributes[d].string: Too long: may not be more than 64 bytes",
            ],
        ),
        (
            device(attributes={f"a{number}": {"int": 1} for number in range(33)}),
            [f"{D}: Invalid value: 33: the total number of attributes and capacities must not exceed 32"],
        ),
        (
            device(taints=[{"key": "a"}], nodeName="n1"),
            [
                f"{D}.taints[0].effect: Required value",
                f"{D}: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if "
                "`perDeviceNodeSelection` is set to true in the ResourceSlice spec",
            ],
        ),
        (
            device(consumesCounters=[{"counterSet": "a", "counters": {"memory": {"value": "1"}}}, {}]),
            [
                f"{D}.consumesCounters[1].counterSet: Required value",
                f"{D}.consumesCounters[1].counters: Required value",
            ],
        ),
        (
            offered(sharedCounters=[{"name": "a"}], allNodes=True),
            [
                'spec: Invalid value: "": only one of `sharedCounters` or `devices` is allowed',
                "spec.sharedCounters[0].counters: Required value",
            ],
        ),
        (device(capacity={"memory": {"value": "1Gi", "requestPolicy": {}}}),
         [f"{POLICY}: Forbidden: allowMultipleAllocations must be true"]),
        (policy(default="1Gi", validValues=["1Gi", "2Gi"]), []),
        (policy(validValues=["1Gi"]), [f"{POLICY}.default: Required value: required when validValues is defined"]),
        (
            policy(default="3Gi", validValues=["2Gi", "1Gi", "20Gi"]),
            [
                f'{POLICY}.validValues[1]: Invalid value: "1Gi": values must be sorted in ascending order',
                f'{POLICY}.validValues[2]: Invalid value: "20Gi": option is larger than capacity value: 10Gi',
                f'{POLICY}.validValues: Invalid value: "3Gi": default value is not valid according to the '
                "requestPolicy",
            ],
        ),
        (policy(default="2Gi", validRange={"min": "1Gi", "max": "5Gi", "step": "1Gi"}), []),
        (
            policy(default="7Gi", validRange={"min": "2Gi", "max": "5Gi", "step": "2Gi"}),
            [
                f'{POLICY}.validRange.max: Invalid value: "7Gi": default is more than max: 5Gi',
                f'{POLICY}.validRange.step: Invalid value: "7Gi": value is not a multiple of a given step (2Gi) from '
                "(2Gi)",
                f'{POLICY}.validRange.step: Invalid value: "5Gi": value is not a multiple of a given step (2Gi) from '
                "(2Gi)",
            ],
        ),
        (
            policy(default="1Gi", validValues=["1Gi"], validRange={}),
            [
                f'{POLICY}: Forbidden: exactly one policy can be specified, cannot specify "validValues" and '
                '"validRange" at the same time'
            ],
        ),
        (
            device(bindingConditions=["a", "a"], bindingFailureConditions=["a"]),
            [
                f'{D}.bindingConditions[1]: Duplicate value: "a"',
                f'{D}.bindingFailureConditions[0]: Invalid value: "a": bindingFailureConditions must not overlap with '
                "bindingConditions",
            ],
        ),
    ],
)  # fmt: skip
def test_slices(obj: Object, expected: list[str]) -> None:
    assert findings(refs.RESOURCE_SLICES, obj) == expected


def test_pools_of_slices() -> None:
    obj = offered(allNodes=True, pool={"name": "", "resourceSliceCount": 0, "generation": -1})
    assert findings(refs.RESOURCE_SLICES, obj) == [
        "spec.pool.name: Required value",
        "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
        "spec.pool.generation: Invalid value: -1: must be greater than or equal to zero",
    ]
    found = update_findings(refs.RESOURCE_SLICES, offered(), changed("spec", "nodeName", to="n2"))
    assert found == ['spec.nodeName: Invalid value: "n2": field is immutable']


def test_each_device_says_from_where_it_is_reached() -> None:
    one = (
        "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to "
        "true in the ResourceSlice spec"
    )
    devices = [{"name": "a"}, {"name": "b", "allNodes": True}, {"name": "c", "allNodes": True, "nodeName": "n"}]
    assert findings(refs.RESOURCE_SLICES, offered(*devices, perDeviceNodeSelection=True)) == [
        f"spec.devices[0]: Required value: {one}",
        f'spec.devices[2]: Invalid value: "{{`nodeName`, `allNodes`}}": {one}',
    ]


def test_taints_are_dated() -> None:
    obj = created(refs.RESOURCE_SLICES, device(taints=[{"key": "a", "effect": "NoSchedule"}]))
    strategy(refs.RESOURCE_SLICES).stamp(obj, None, Occasion(NOW))
    assert obj["spec"]["devices"][0]["taints"][0]["timeAdded"] == ago()


def test_columns() -> None:
    assert cells(refs.RESOURCE_SLICES, offered()) == {
        "Name": "x", "Node": "n1", "Driver": "d.example", "Pool": "n1", "Age": "3h",
    }  # fmt: skip
    assert cells(refs.RESOURCE_CLAIMS, claim()) == {"Name": "x", "State": "pending", "Age": "3h"}
    obj = allocated(reservedFor=[POD])
    assert cells(refs.RESOURCE_CLAIMS, obj)["State"] == "allocated,reserved"
    obj["metadata"]["deletionTimestamp"] = ago()
    assert cells(refs.RESOURCE_CLAIMS, obj)["State"] == "deleted,allocated,reserved"
    assert list(cells(refs.DEVICE_CLASSES, named())) == ["Name", "Age"]

"""KubeSchedulerConfiguration v1: defaults, strict reading, findings, and which plugins act in which order.

Expected values are those of the API reference, kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1, and of
kubernetes.io/docs/reference/scheduling/config.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from timonel.api.objects import Object
from timonel.scheduler.configuration.errors import InvalidConfiguration
from timonel.scheduler.configuration.reading import SchedulerConfiguration, parse_configuration
from timonel.scheduler.core.arguments import (
    DefaultSpread,
    NodeResourcesFitArgs,
    PodTopologySpreadArgs,
    ShapePoint,
    Strategy,
    WeightedResource,
)
from timonel.scheduler.core.plugins import DEFAULT_PROFILE
from timonel.scheduler.core.profile import PluginRow, Profile

DEFAULT_WEIGHTS = {
    "TaintToleration": 3, "NodeAffinity": 2, "NodeResourcesFit": 1, "PodTopologySpread": 2, "InterPodAffinity": 2,
    "NodeResourcesBalancedAllocation": 1, "ImageLocality": 1,
}  # fmt: skip
FILTERS = [
    "NodeUnschedulable", "NodeName", "TaintToleration", "NodeAffinity", "NodePorts", "NodeResourcesFit",
    "VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone", "PodTopologySpread", "InterPodAffinity",
]  # fmt: skip


def document(text: str = "") -> Object:
    found: Object = yaml.safe_load(text) or {}
    return {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"} | found


def parse(text: str = "", **options: Any) -> SchedulerConfiguration:
    return parse_configuration(document(text), **options)


def only_profile(text: str, **options: Any) -> Profile:
    (profile,) = parse(text, **options).profiles
    return profile


def weights(profile: Profile) -> dict[str, int]:
    return {plugin.name: weight for plugin, weight in profile.scores}


def in_tree(names: tuple[str, ...]) -> list[str]:
    """Without those that newer releases add."""
    return [name for name in names if name in FILTERS]


def test_an_empty_file_means_the_default_profile() -> None:
    configuration = parse()
    (profile,) = configuration.profiles
    assert profile.name == "default-scheduler"
    assert in_tree(profile.points["filter"]) == FILTERS
    assert weights(profile).items() >= DEFAULT_WEIGHTS.items()
    assert dict(profile.points) == dict(DEFAULT_PROFILE.points)
    assert profile.args == DEFAULT_PROFILE.args
    assert (configuration.initial_backoff_seconds, configuration.max_backoff_seconds) == (1, 10)
    assert configuration.extenders == ()
    shown = configuration.document
    assert (shown["parallelism"], shown["percentageOfNodesToScore"]) == (16, 0)
    assert shown["leaderElection"] == {
        "leaderElect": True, "leaseDuration": "15s", "renewDeadline": "10s", "retryPeriod": "2s",
        "resourceLock": "leases", "resourceName": "kube-scheduler", "resourceNamespace": "kube-system",
    }  # fmt: skip
    assert shown["clientConnection"]["burst"] == 100


def test_what_is_accepted_without_meaning_is_told() -> None:
    notes = " ".join(parse("{percentageOfNodesToScore: 50, parallelism: 8}").notes)
    assert "percentageOfNodesToScore changes nothing here: every node is considered" in notes
    assert "parallelism" in notes
    assert parse().notes == ()


# Plugins


def test_a_default_plugin_is_disabled_by_name_at_one_point() -> None:
    profile = only_profile("profiles: [{plugins: {score: {disabled: [{name: PodTopologySpread}]}}}]")
    assert "PodTopologySpread" not in weights(profile)
    assert profile.runs("filter", "PodTopologySpread")


def test_a_star_disables_all_at_a_point_and_enabled_ones_stay() -> None:
    profile = only_profile(
        'profiles: [{plugins: {score: {disabled: [{name: "*"}], enabled: [{name: ImageLocality, weight: 7}]}}}]'
    )
    assert weights(profile) == {"ImageLocality": 7}
    assert in_tree(profile.points["filter"]) == FILTERS


def test_multi_point_disables_everywhere() -> None:
    profile = only_profile("profiles: [{plugins: {multiPoint: {disabled: [{name: NodeResourcesFit}]}}}]")
    assert not any(profile.runs(point, "NodeResourcesFit") for point in profile.points)


def test_a_weight_of_a_point_goes_before_that_of_multi_point() -> None:
    """And a plugin that is enabled anew without a weight has weight 1, whatever its default."""
    profile = only_profile(
        """
        profiles:
        - plugins:
            multiPoint: {enabled: [{name: NodeAffinity}, {name: TaintToleration, weight: 9}]}
            score: {enabled: [{name: TaintToleration, weight: 4}]}
        """
    )
    assert (weights(profile)["NodeAffinity"], weights(profile)["TaintToleration"]) == (1, 4)


def test_order_is_overridden_then_multi_point_then_others() -> None:
    """kubernetes.io/docs/reference/scheduling/config/#multipoint, the precedence of the three parts."""
    row = PluginRow("Custom", ("filter", "score"), lambda _: _Both(), is_default=False)
    profile = only_profile(
        "profiles: [{plugins: {filter: {enabled: [{name: InterPodAffinity}, {name: Custom}]}}}]", plugins=[row]
    )
    order = [name for name in profile.points["filter"] if name in (*FILTERS, "Custom")]
    assert order == ["InterPodAffinity", *[name for name in FILTERS if name != "InterPodAffinity"], "Custom"]
    assert profile.filters[-1].name == "Custom"


def test_plugins_from_elsewhere_act_only_where_they_are_named() -> None:
    row = PluginRow("Custom", ("filter", "score"), lambda args: _Both(args), is_default=False)
    assert not only_profile("", plugins=[row]).runs("filter", "Custom")
    profile = only_profile(
        """
        profiles:
        - plugins: {multiPoint: {enabled: [{name: Custom, weight: 5}]}}
          pluginConfig: [{name: Custom, args: {any: {thing: 1}}}]
        """,
        plugins=[row],
    )
    assert weights(profile)["Custom"] == 5
    assert profile.filters[-1].args == {"any": {"thing": 1}}  # type: ignore[attr-defined]


class _Both:
    name = "Custom"
    is_static = False
    helped_by: frozenset[Any] = frozenset()

    def __init__(self, args: Any = None) -> None:
        self.args = args

    def refuse(self, cluster: object, attempt: object) -> tuple[()]:
        return ()

    def score(self, cluster: object, attempt: object, nodes: object) -> None:
        return None


def test_several_profiles_have_plugins_of_their_own() -> None:
    first, second = parse(
        """
        profiles:
        - schedulerName: default-scheduler
        - schedulerName: packing
          plugins: {multiPoint: {disabled: [{name: NodePorts}]}}
          pluginConfig:
          - {name: NodeResourcesFit, args: {scoringStrategy: {type: MostAllocated, resources: [{name: cpu}]}}}
        """
    ).profiles
    assert (first.name, second.name) == ("default-scheduler", "packing")
    assert first.runs("filter", "NodePorts")
    assert not second.runs("filter", "NodePorts")
    assert first.args["NodeResourcesFit"] == NodeResourcesFitArgs()
    assert second.args["NodeResourcesFit"].strategy is Strategy.MOST_ALLOCATED
    assert second.args["NodeResourcesFit"].resources == (WeightedResource("cpu", 1),)


def test_arguments_reach_the_plugins() -> None:
    args = only_profile(
        """
        profiles:
        - pluginConfig:
          - name: NodeResourcesFit
            args:
              ignoredResources: [example.com/foo]
              ignoredResourceGroups: [example.org]
              scoringStrategy:
                type: RequestedToCapacityRatio
                resources: [{name: example.com/gpu, weight: 3}]
                requestedToCapacityRatio: {shape: [{utilization: 0, score: 0}, {utilization: 100, score: 10}]}
          - name: PodTopologySpread
            args:
              defaultingType: List
              defaultConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]
          - {name: InterPodAffinity, args: {hardPodAffinityWeight: 0, ignorePreferredTermsOfExistingPods: true}}
          - {name: VolumeBinding, args: {bindTimeoutSeconds: 30}}
          - {name: DefaultPreemption, args: {minCandidateNodesPercentage: 5}}
        """
    ).args
    assert args["NodeResourcesFit"] == NodeResourcesFitArgs(
        ignored_resources=frozenset({"example.com/foo"}),
        ignored_groups=frozenset({"example.org"}),
        strategy=Strategy.REQUESTED_TO_CAPACITY_RATIO,
        resources=(WeightedResource("example.com/gpu", 3),),
        shape=(ShapePoint(0, 0), ShapePoint(100, 10)),
    )
    assert args["PodTopologySpread"] == PodTopologySpreadArgs((DefaultSpread(1, "zone", is_required=True),))
    assert args["InterPodAffinity"].hard_pod_affinity_weight == 0
    assert args["InterPodAffinity"].ignore_preferred_terms_of_existing_pods
    assert args["VolumeBinding"].bind_timeout_seconds == 30
    preemption = args["DefaultPreemption"]
    assert (preemption.min_candidate_nodes_percentage, preemption.min_candidate_nodes_absolute) == (5, 100)


def test_extenders_are_read_and_what_they_alone_look_after_is_ignored() -> None:
    configuration = parse(
        """
        extenders:
        - urlPrefix: https://extender.example.org/v1
          filterVerb: filter
          prioritizeVerb: prioritize
          weight: 5
          httpTimeout: 2s
          nodeCacheCapable: true
          ignorable: true
          enableHTTPS: true
          tlsConfig: {serverName: other.example.org, caData: Y2E=}
          managedResources: [{name: example.com/foo, ignoredByScheduler: true}, {name: example.com/bar}]
        """
    )
    (extender,) = configuration.extenders
    assert (extender.weight, extender.timeout_seconds, extender.node_cache_capable) == (5, 2.0, True)
    assert extender.tls is not None
    assert extender.tls.ca_data == b"ca"
    assert extender.managed_resources == {"example.com/foo", "example.com/bar"}
    assert configuration.profiles[0].args["NodeResourcesFit"].ignored_resources == {"example.com/foo"}


# What is refused

_POOR = "initializing profiles: creating profile for scheduler name default-scheduler: "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Pod", 'no kind "Pod" is registered for version "kubescheduler.config.k8s.io/v1"'),
        ("apiVersion: kubescheduler.config.k8s.io/v1beta3", "kubescheduler.config.k8s.io/v1beta3"),
        ("profile: []", 'strict decoding error: unknown field "profile"'),
        (
            "profiles: [{plugins: {scores: {}}, name: x}]",
            'strict decoding error: unknown field "profiles[0].name", unknown field "profiles[0].plugins.scores"',
        ),
        (
            "parallelism: many",
            "json: cannot unmarshal string into Go struct field KubeSchedulerConfiguration.parallelism of type int32",
        ),
        (
            """
            profiles:
            - pluginConfig:
              - name: NodeResourcesFit
                args: {scoringStrategy: {requestedToCapacityRatio: {shape: [{Score: 2, Utilization: 1}]}}}
            """,
            "strict decoding error: decoding .profiles[0].pluginConfig[0]: strict decoding error: decoding args for "
            'plugin NodeResourcesFit: strict decoding error: unknown field "scoringStrategy.requestedToCapacityRatio.'
            'shape[0].Score", unknown field "scoringStrategy.requestedToCapacityRatio.shape[0].Utilization"',
        ),
        (
            """
            profiles:
            - pluginConfig:
              - name: DefaultPreemption
                args: {apiVersion: kubescheduler.config.k8s.io/v1, kind: InterPodAffinityArgs}
            """,
            "decoding .profiles[0].pluginConfig[0]: args for plugin DefaultPreemption were not of type "
            "DefaultPreemptionArgs.kubescheduler.config.k8s.io, got InterPodAffinityArgs.kubescheduler.config.k8s.io",
        ),
        ("parallelism: 0", "parallelism: Invalid value: 0: should be an integer value greater than zero"),
        ("percentageOfNodesToScore: 101", "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]"),
        ("podInitialBackoffSeconds: 0", "podInitialBackoffSeconds: Invalid value: 0: must be greater than 0"),
        (
            "podMaxBackoffSeconds: 0",
            "podMaxBackoffSeconds: Invalid value: 0: must be greater than or equal to PodInitialBackoffSeconds",
        ),
        (
            "leaderElection: {leaseDuration: 5s}",
            'leaderElection.leaseDuration: Invalid value: "10s": must be greater than `RenewDeadline`',
        ),
        ("leaderElection: {leaseDuration: soon}", 'leaderElection.leaseDuration: time: invalid duration "soon"'),
        ("profiles: [{}, {schedulerName: b}]", "profiles[0].schedulerName: Required value"),
        (
            "profiles: [{schedulerName: a}, {schedulerName: a}]",
            'profiles[1].schedulerName: Duplicate value: "profiles[0].schedulerName"',
        ),
        (
            "profiles: [{plugins: {filter: {enabled: [{name: EBSLimits}]}}}]",
            'profiles[0].plugins.filter.enabled[0]: Invalid value: "EBSLimits": was invalid in version "v1" '
            '(KubeSchedulerConfiguration is version "kubescheduler.config.k8s.io/v1")',
        ),
        (
            "profiles: [{plugins: {filter: {enabled: [{name: Nobody}]}}}]",
            _POOR + 'FilterPlugin "Nobody" does not exist',
        ),
        (
            "profiles: [{plugins: {filter: {enabled: [{name: ImageLocality}]}}}]",
            _POOR + 'plugin "ImageLocality" does not extend FilterPlugin plugin',
        ),
        (
            "profiles: [{plugins: {filter: {enabled: [{name: NodePorts}, {name: NodePorts}]}}}]",
            _POOR + 'plugin "NodePorts" already registered as "FilterPlugin"',
        ),
        (
            "profiles: [{plugins: {queueSort: {disabled: [{name: PrioritySort}]}}}]",
            _POOR + "only one queue sort plugin required for profile with scheduler name "
            '"default-scheduler", but got 0',
        ),
        (
            'profiles: [{plugins: {bind: {disabled: [{name: "*"}]}}}]',
            _POOR + 'at least one bind plugin is needed for profile with scheduler name "default-scheduler"',
        ),
        (
            "profiles: [{plugins: {preFilter: {disabled: [{name: NodePorts}]}}}]",
            _POOR + 'plugin "NodePorts" cannot filter without its preFilter; disable both',
        ),
        (
            "profiles: [{plugins: {reserve: {disabled: [{name: VolumeBinding}]}}}]",
            _POOR + 'plugin "VolumeBinding" acts at all of preFilter, filter, reserve, preBind or at none of them',
        ),
        ("profiles: [{pluginConfig: [{name: Nobody}]}]", _POOR + 'pluginConfig: plugin "Nobody" does not exist'),
        (
            "profiles: [{pluginConfig: [{name: VolumeBinding}, {name: VolumeBinding}]}]",
            'profiles[0].pluginConfig[1]: Duplicate value: "VolumeBinding"',
        ),
        ("extenders: [{urlPrefix: x, prioritizeVerb: p}]",
         "extenders[0].weight: Invalid value: 0: must have a positive weight applied to it"),
        (
            "extenders: [{urlPrefix: x, bindVerb: b}, {urlPrefix: y, bindVerb: b}]",
            'extenders: Invalid value: "found 2 extenders implementing bind": only one extender can implement bind',
        ),
        (
            "extenders: [{urlPrefix: x, managedResources: [{name: kubernetes.io/foo}]}]",
            'extenders[0].managedResources[0].name: Invalid value: "kubernetes.io/foo": is an invalid extended '
            "resource name",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("plugin", "args", "message"),
    [
        ("DefaultPreemption", "{minCandidateNodesPercentage: 101}",
         "minCandidateNodesPercentage: Invalid value: 101: not in valid range [0, 100]"),
        ("DefaultPreemption", "{minCandidateNodesPercentage: 0, minCandidateNodesAbsolute: 0}",
         "cannot be zero at the same time as minCandidateNodesAbsolute"),
        ("InterPodAffinity", "{hardPodAffinityWeight: 101}",
         "hardPodAffinityWeight: Invalid value: 101: not in valid range [0, 100]"),
        ("PodTopologySpread", "{defaultConstraints: [{maxSkew: 1, topologyKey: a, whenUnsatisfiable: ScheduleAnyway}]}",
         'defaultingType: Invalid value: "System": when .defaultConstraints are not empty'),
        ("PodTopologySpread", "{defaultingType: Unknown}",
         'defaultingType: Unsupported value: "Unknown": supported values: "System", "List"'),
        ("PodTopologySpread",
         "{defaultingType: List, "
         "defaultConstraints: [{maxSkew: 0, topologyKey: a, whenUnsatisfiable: ScheduleAnyway}]}",
         "defaultConstraints[0].maxSkew: Invalid value: 0: not in valid range (0, inf)"),
        ("PodTopologySpread",
         "{defaultingType: List, defaultConstraints: [{maxSkew: 1, whenUnsatisfiable: Sometimes}]}",
         "defaultConstraints[0].topologyKey: Required value: can not be empty"),
        ("PodTopologySpread",
         "{defaultingType: List, defaultConstraints: [{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule, "
         "labelSelector: {matchLabels: {a: b}}}]}",
         "defaultConstraints[0].labelSelector: Forbidden: constraint must not define a selector, as they deduced for "
         "each pod"),
        ("NodeResourcesBalancedAllocation", "{resources: [{name: cpu, weight: 2}]}",
         "resources[0].weight: Invalid value: 2: must be 1"),
        ("NodeResourcesBalancedAllocation", "{resources: [{name: cpu}, {name: cpu}]}",
         'resources[1].name: Duplicate value: "cpu"'),
        ("NodeResourcesFit", "{scoringStrategy: {type: Unknown}}",
         'scoringStrategy.type: Unsupported value: "Unknown": supported values: "LeastAllocated", "MostAllocated", '
         '"RequestedToCapacityRatio"'),
        ("NodeResourcesFit", "{scoringStrategy: {type: LeastAllocated, resources: [{name: cpu, weight: 101}]}}",
         "scoringStrategy.resources[0].weight: Invalid value: 101: resource weight of cpu not in valid range (0, 100]"),
        ("NodeResourcesFit", "{scoringStrategy: {type: RequestedToCapacityRatio}}",
         "scoringStrategy.requestedToCapacityRatio: Required value: must be specified when type is "
         "RequestedToCapacityRatio"),
        ("NodeResourcesFit",
         "{scoringStrategy: {type: RequestedToCapacityRatio, requestedToCapacityRatio: {shape: "
         "[{utilization: 5, score: 1}, {utilization: 5, score: 11}]}}}",
         "shape[1].utilization: Invalid value: 5: values must be sorted in increasing order"),
        ("NodeResourcesFit", "{ignoredResourceGroups: [example.com/foo]}", "resource group name can't contain '/'"),
        ("NodeAffinity", "{addedAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: "
         "[{matchExpressions: [{key: foo, operator: Nope}]}]}}}",
         "addedAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0]."
         "operator: "
         'Invalid value: "Nope": not a valid selector operator'),
        ("VolumeBinding", "{bindTimeoutSeconds: -1}",
         "bindTimeoutSeconds: Invalid value: -1: invalid BindTimeoutSeconds, should not be a negative value"),
        ("VolumeBinding", "{shape: [{utilization: 0, score: 0}]}", "remove it or turn on the feature gate"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_are_refused(plugin: str, args: str, message: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        parse(f"profiles: [{{pluginConfig: [{{name: {plugin}, args: {args}}}]}}]")
    assert "profiles[0].pluginConfig[0].args." in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [3, "text", [], [1], {"profiles": 3}, {"profiles": [3]}, {"extenders": {"a": 1}}])
def test_what_is_no_configuration_at_all_is_refused(value: Any) -> None:
    with pytest.raises(InvalidConfiguration):
        parse_configuration(document() | value if isinstance(value, dict) else value)

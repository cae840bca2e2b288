"""How a pod is known inside: host name, /etc/hosts and DNS settings. Pure.

Source: kubernetes.io/docs/concepts/services-networking/dns-pod-service,
kubernetes.io/docs/tasks/network/customize-hosts-file-for-pods.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from timonel.api.objects import Object, name_of, namespace_of

HOST_NAME_LIMIT = 63
FQDN_LIMIT = 64
_MAX_NAMESERVERS = 3
_MAX_SEARCHES = 32

_HOSTS = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


def host_name(pod: Object, cluster_domain: str) -> tuple[str, str]:
    """(host name, domain): the domain is "" without a subdomain. Raises ValueError when an FQDN is too long."""
    spec = pod["spec"]
    if spec.get("hostnameOverride"):
        return spec["hostnameOverride"], ""
    short = (spec.get("hostname") or name_of(pod))[:HOST_NAME_LIMIT].rstrip("-.")
    domain = f"{spec['subdomain']}.{namespace_of(pod)}.svc.{cluster_domain}" if spec.get("subdomain") else ""
    return short, domain


def kernel_host_name(pod: Object, cluster_domain: str) -> str:
    """What `hostname` prints in the pod. Raises ValueError when the FQDN does not fit into the kernel's field."""
    short, domain = host_name(pod, cluster_domain)
    if not (pod["spec"].get("setHostnameAsFQDN") and domain):
        return short
    fqdn = f"{short}.{domain}"
    if len(fqdn) > FQDN_LIMIT:
        raise ValueError(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long "
            f"({FQDN_LIMIT} characters is the max, {len(fqdn)} characters requested)"
        )
    return fqdn


def _alias_lines(aliases: Iterable[Object]) -> str:
    lines = [f"{alias['ip']}\t" + "\t".join(alias.get("hostnames") or ()) for alias in aliases]
    return "\n# Entries added by HostAliases.\n" + "".join(f"{line}\n" for line in lines) if lines else ""


def render_hosts(pod: Object, pod_ips: tuple[str, ...], cluster_domain: str) -> str:
    short, domain = host_name(pod, cluster_domain)
    names = f"{short}.{domain}\t{short}" if domain else short
    own = "".join(f"{ip}\t{names}\n" for ip in pod_ips)
    return _HOSTS + own + _alias_lines(pod["spec"].get("hostAliases") or ())


def render_node_hosts(pod: Object, node_hosts: str) -> str:
    """With the host's network, the host's file and the pod's aliases."""
    text = "# Kubernetes-managed hosts file (host network).\n" + node_hosts
    return text + _alias_lines(pod["spec"].get("hostAliases") or ())


@dataclass(slots=True)
class Resolver:
    servers: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)


def parse_resolv_conf(text: str) -> Resolver:
    resolver = Resolver()
    for line in text.splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        if words[0] == "nameserver" and len(words) > 1:
            resolver.servers.append(words[1])
        elif words[0] == "search":
            resolver.searches = [word if word == "." else word.rstrip(".") for word in words[1:]]
        elif words[0] == "options":
            resolver.options = words[1:]
    return resolver


def pod_resolver(pod: Object, host: Resolver, cluster_dns: tuple[str, ...], cluster_domain: str) -> Resolver:
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and spec.get("hostNetwork"):
        policy = "Default"
    if policy == "ClusterFirstWithHostNet":
        policy = "ClusterFirst"
    if policy == "ClusterFirst" and not cluster_dns:
        policy = "Default"
    if policy == "None":
        resolver = Resolver()
    elif policy == "Default":
        resolver = Resolver(list(host.servers), list(host.searches), list(host.options))
    else:
        suffixes = [f"{namespace_of(pod)}.svc.{cluster_domain}", f"svc.{cluster_domain}", cluster_domain]
        resolver = Resolver(list(cluster_dns), _unique(suffixes + host.searches), ["ndots:5"])
    custom = spec.get("dnsConfig") or {}
    resolver.servers = _unique(resolver.servers + (custom.get("nameservers") or []))[:_MAX_NAMESERVERS]
    resolver.searches = _unique(resolver.searches + (custom.get("searches") or []))[:_MAX_SEARCHES]
    resolver.options = _merged_options(resolver.options, custom.get("options") or [])
    return resolver


def _unique(words: list[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _merged_options(present: list[str], custom: list[Object]) -> list[str]:
    options: dict[str, str] = {}
    for option in present:
        name, _, value = option.partition(":")
        options[name] = value
    for entry in custom:
        options[entry["name"]] = entry.get("value") or ""
    return [f"{name}:{value}" if value else name for name, value in options.items()]

"""Makes a pod's sandbox and starts its containers, one step after the other; every failure has its name.

Source of reasons: kubernetes.io/docs/concepts/containers/images, "ImagePullBackOff", and upstream's kubelet.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Mapping
from functools import partial

from timonel.api.errors import NotFound
from timonel.api.objects import Object, namespace_of, uid_of
from timonel.api.refs import RUNTIME_CLASSES
from timonel.kubelet.containers.config import MountPoint, container_config, pod_log_dir, sandbox_config
from timonel.kubelet.containers.environment import (
    ConfigError,
    EnvironmentSource,
    make_environment,
    service_variables,
    visible_services,
)
from timonel.kubelet.containers.names import render_hosts, render_node_hosts
from timonel.kubelet.containers.security import check_non_root
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.runtime import RuntimeFailure, RuntimeUnavailable
from timonel.kubelet.devices.plugins import PluginFailure
from timonel.kubelet.images.puller import ImageFailure, Tell
from timonel.kubelet.images.volumes import ImageMountError, image_of
from timonel.kubelet.objects import ObjectsUnavailable, references_of
from timonel.kubelet.pods.plan import Start
from timonel.kubelet.pods.services import NotAdmitted, PodServices
from timonel.kubelet.pods.spec import Kind, find_container, is_host_network
from timonel.kubelet.pods.view import RUNNING, PodView, SandboxView, Waiting
from timonel.kubelet.volumes.mounts import is_mount_point
from timonel.kubelet.volumes.subpath import SubPathError

_RETRY_SECONDS = 10.0


class StartFailure(Exception):
    """`waiting` is what the container's status says; `retry_at` (wall clock) when to try again, None: by the plan."""

    def __init__(self, waiting: Waiting, retry_at: float | None) -> None:
        super().__init__(waiting.message)
        self.waiting = waiting
        self.retry_at = retry_at


class DevicesNotPrepared(Exception):
    """The message is the text of the FailedPrepareDynamicResources event."""


class PodStarter:
    """Of one pod. What it does can be repeated after any interruption."""

    def __init__(self, services: PodServices) -> None:
        self._services = services
        self._config: tuple[int, cri.PodSandboxConfig] | None = None
        """Of the newest sandbox, by its attempt: its containers are made with what it was made with."""

    async def prepare(self, pod: Object) -> None:
        """Volumes, cgroup, log directory. Raises DevicesNotPrepared, MountFailure, OSError."""
        services = self._services
        if pod["spec"].get("resourceClaims") or (pod.get("status") or {}).get("extendedResourceClaimStatus"):
            # Without its devices it must not run as if it had them.
            why = "preparing devices for ResourceClaims is not built in this kubelet"
            raise DevicesNotPrepared(f"Failed to prepare dynamic resources: {why}")
        await services.volumes.mount(pod)
        services.cgroups.ensure_pod(pod)
        await asyncio.to_thread(os.makedirs, pod_log_dir(services.config, pod), mode=0o755, exist_ok=True)

    def attempt_after(self, pod: Object, container: str, known: Object) -> int:
        """Number of the next run of a container that the runtime has forgotten, and the status tells of.

        Logs outlive a reboot and are numbered by run: the next one gets a log of its own.
        """
        try:
            names = os.listdir(f"{pod_log_dir(self._services.config, pod)}/{container}")
        except FileNotFoundError:
            names = []
        numbers = (name.split(".", 1)[0] for name in names)
        runs = (int(number) + 1 for number in numbers if number.isdigit())
        return max(*runs, int(known.get("restartCount") or 0), 0)

    def sandbox_config(self, pod: Object, attempt: int) -> cri.PodSandboxConfig:
        """Raises ValueError when the pod's host name cannot be."""
        services = self._services
        if self._config is None or self._config[0] != attempt:
            made = sandbox_config(
                pod,
                attempt,
                config=services.config,
                host_resolver=services.host_resolver(),
                cgroup_parent=services.cgroups.runtime_path(pod),
            )
            self._config = attempt, made
        return self._config[1]

    async def create_sandbox(self, pod: Object, attempt: int) -> None:
        """Raises RuntimeFailure, ValueError."""
        handler = await self._runtime_handler(pod)
        await self._services.runtime.run_pod_sandbox(self.sandbox_config(pod, attempt), handler)

    async def _runtime_handler(self, pod: Object) -> str:
        """How the runtime is to run the pod, by its RuntimeClass; "": as it does by default."""
        name = pod["spec"].get("runtimeClassName")
        if not name:
            return ""
        try:
            found = await self._services.client.get(RUNTIME_CLASSES, name)
        except NotFound:
            raise ValueError(f'RuntimeClass "{name}" not found') from None
        return str(found.get("handler") or "")

    def _pod_ips(self, pod: Object, sandbox: SandboxView) -> tuple[str, ...]:
        return self._services.config.node_ips if is_host_network(pod) else sandbox.ips

    async def start(
        self, pod: Object, start: Start, view: PodView, started: Callable[[str], None] = lambda container_id: None
    ) -> None:
        """Image, configuration, container, start, postStart hook. Raises StartFailure, RuntimeUnavailable.

        `started` is told the container's id once it runs.
        """
        found = find_container(pod, start.name)
        assert found is not None
        assert view.sandbox is not None
        kind, container = found
        services = self._services
        if start.replaces:
            await services.runtime.remove_container(start.replaces)
        config = self.sandbox_config(pod, view.sandbox.attempt)
        image = await self._image(pod, kind, container, config)
        images = await self._image_volumes(pod, kind, container, config)
        made = await self._configure(pod, kind, container, start.attempt, view, image, images)
        try:
            container_id = await services.runtime.create_container(view.sandbox.id, made, config)
        except RuntimeUnavailable:
            raise
        except RuntimeFailure as exc:
            self._tell(pod, kind, container, "Failed", f"Error: {exc.description}")
            raise StartFailure(Waiting("CreateContainerError", exc.description), self._later()) from exc
        services.tell(pod, kind, container, "Normal", "Created", "Container created")
        try:
            if not is_host_network(pod):
                await services.admit(pod, view.sandbox.ips)
            await services.runtime.start_container(container_id)
        except NotAdmitted as exc:
            self._tell(pod, kind, container, "Failed", f"Error: {exc}")
            raise StartFailure(Waiting("RunContainerError", str(exc)), self._later()) from exc
        except RuntimeUnavailable:
            raise
        except RuntimeFailure as exc:
            # Without the id that differs each time, so that repeats are one event that counts.
            told = exc.description.replace(container_id, container["name"])
            self._tell(pod, kind, container, "Failed", f"Error: {told}")
            raise StartFailure(Waiting("RunContainerError", exc.description), None) from exc
        started(container_id)
        services.cpus.made(container_id, made.linux.resources.cpuset_cpus)
        services.tell(pod, kind, container, "Normal", "Started", "Container started")
        await self._post_start(pod, kind, container, container_id, view)

    def _tell(self, pod: Object, kind: Kind, container: Object, reason: str, message: str) -> None:
        self._services.tell(pod, kind, container, "Warning", reason, message)

    def _later(self) -> float:
        return self._services.clock.now().timestamp() + _RETRY_SECONDS

    async def _image(self, pod: Object, kind: Kind, container: Object, config: cri.PodSandboxConfig) -> cri.Image:
        tell = lambda event, reason, message: self._services.tell(pod, kind, container, event, reason, message)  # noqa: E731
        try:
            return await self._pull(pod, container, config, tell)
        except ImageFailure as exc:
            raise self._not_pulled(pod, kind, container, exc) from exc

    def _not_pulled(self, pod: Object, kind: Kind, container: Object, failure: ImageFailure) -> StartFailure:
        self._tell(pod, kind, container, "Failed", f"Error: {failure.reason}")
        retry_at = failure.retry_at if failure.retry_at is not None else self._later()
        return StartFailure(Waiting(failure.reason, failure.message), retry_at)

    async def _image_volumes(
        self, pod: Object, kind: Kind, container: Object, config: cri.PodSandboxConfig
    ) -> dict[str, str]:
        """Has the images there that the container mounts; those that the runtime mounts itself, by volume.

        Source of reasons and of who is told what: KEP-4639.
        """
        services = self._services
        mounted = {mount["name"] for mount in container.get("volumeMounts") or ()}
        volumes = [v for v in pod["spec"].get("volumes") or () if v.get("image") and v["name"] in mounted]
        paths = services.volumes.paths(uid_of(pod))
        found = {}
        for volume in volumes:
            if is_mount_point(paths.volume(volume)):
                continue
            try:
                image = await self._pull(pod, image_of(volume), config, partial(services.tell_pod, pod))
                if await services.image_volumes.are_mounted_by_runtime():
                    found[volume["name"]] = image.id
                else:
                    await services.image_volumes.mount(uid_of(pod), volume["name"], image, paths.volume(volume))
            except ImageFailure as exc:
                raise self._not_pulled(pod, kind, container, exc) from exc
            except ImageMountError as exc:
                self._tell(pod, kind, container, "Failed", f"Error: {exc}")
                raise StartFailure(Waiting("CreateContainerError", str(exc)), self._later()) from exc
        return found

    async def _pull(self, pod: Object, container: Object, config: cri.PodSandboxConfig, tell: Tell) -> cri.Image:
        """Raises ImageFailure."""
        services = self._services
        names = [reference.get("name", "") for reference in pod["spec"].get("imagePullSecrets") or ()]
        found = {name: services.objects.get("secret", namespace_of(pod), name) for name in names}
        missing = [name for name, secret in found.items() if secret is None]
        if missing and container.get("imagePullPolicy") != "Never":
            message = (
                f"Unable to retrieve some image pull secrets ({', '.join(missing)}); "
                "attempting to pull the image may not succeed."
            )
            services.tell_pod(pod, "Warning", "FailedToRetrieveImagePullSecret", message)
        return await services.puller.ensure(
            pod,
            container,
            secrets=[secret for secret in found.values() if secret is not None],
            sandbox_config=config,
            tell=tell,
        )

    async def _configure(
        self,
        pod: Object,
        kind: Kind,
        container: Object,
        attempt: int,
        view: PodView,
        image: cri.Image,
        image_volumes: Mapping[str, str],
    ) -> cri.ContainerConfig:
        services = self._services
        assert view.sandbox is not None
        namespace = namespace_of(pod)
        pod_ips = self._pod_ips(pod, view.sandbox)
        links = pod["spec"].get("enableServiceLinks")
        try:
            await services.objects.wait_known(references_of(pod))
            check_non_root(pod, container, image)
            environment = make_environment(
                pod,
                container,
                EnvironmentSource(
                    lookup=lambda what, name: services.objects.get(what, namespace, name),
                    pod_ips=pod_ips,
                    host_ips=services.config.node_ips,
                    allocatable=services.volumes.allocatable,
                    services=service_variables(
                        visible_services(services.services(), namespace, links is None or bool(links))
                    ),
                ),
            )
            given = await services.devices.prepare(pod, container)
            environment = given.environment | environment
            mounts = services.volumes.container_mounts(pod, container, environment, image_volumes)
            mounts += given.mounts + self._own_mounts(pod, container, pod_ips)
            log_dir = f"{pod_log_dir(services.config, pod)}/{container['name']}"
            await asyncio.to_thread(os.makedirs, log_dir, mode=0o755, exist_ok=True)
            made = container_config(
                pod,
                container,
                attempt,
                config=services.config,
                image=image,
                image_ref=image.id,
                environment=environment,
                mounts=mounts,
                devices=services.volumes.container_devices(pod, container) + given.devices,
                memory_capacity=services.memory_capacity,
                unified_cgroups=services.cgroups.unified,
                target_id=self._target(kind, container, view),
                cpus=services.cpus.of(uid_of(pod), container["name"]),
            )
            made.annotations.update(given.annotations)
            made.CDI_devices.extend(cri.CDIDevice(name=name) for name in given.cdi_names)
            return made
        except (ConfigError, ObjectsUnavailable, SubPathError, PluginFailure, OSError) as exc:
            self._tell(pod, kind, container, "Failed", f"Error: {exc}")
            raise StartFailure(Waiting("CreateContainerConfigError", str(exc)), self._later()) from exc

    def _target(self, kind: Kind, container: Object, view: PodView) -> str:
        """Whose processes an ephemeral container sees, when it names one."""
        name = container.get("targetContainerName")
        target = view.latest(name) if kind is Kind.EPHEMERAL and name else None
        if target is None:
            return ""
        if target.state != RUNNING:
            raise ConfigError(f"unable to find target container {name}")
        return target.id

    def _own_mounts(self, pod: Object, container: Object, pod_ips: tuple[str, ...]) -> list[MountPoint]:
        """/etc/hosts and the file for the termination message, unless the container mounts its own there."""
        services = self._services
        paths = services.volumes.paths(uid_of(pod))
        taken = {mount["mountPath"] for mount in container.get("volumeMounts") or ()}
        made = []
        if "/etc/hosts" not in taken and pod_ips:
            self._write_hosts(pod, pod_ips, paths.hosts_file)
            read_only = bool((container.get("securityContext") or {}).get("readOnlyRootFilesystem"))
            made.append(MountPoint(paths.hosts_file, "/etc/hosts", read_only))
        message_path = container.get("terminationMessagePath") or "/dev/termination-log"
        directory = paths.container(container["name"])
        os.makedirs(directory, mode=0o755, exist_ok=True)
        file = f"{directory}/{secrets.token_hex(4)}"
        with open(file, "xb"):
            # Any user of the container may write there.
            os.chmod(file, 0o666)
        made.append(MountPoint(file, message_path))
        return made

    def _write_hosts(self, pod: Object, pod_ips: tuple[str, ...], path: str) -> None:
        if is_host_network(pod):
            with open("/etc/hosts", encoding="utf-8") as file:
                text = render_node_hosts(pod, file.read())
        else:
            text = render_hosts(pod, pod_ips, self._services.config.cluster_domain)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o644)

    async def _post_start(self, pod: Object, kind: Kind, container: Object, container_id: str, view: PodView) -> None:
        handler = (container.get("lifecycle") or {}).get("postStart")
        if not handler:
            return
        services = self._services
        assert view.sandbox is not None
        ips = self._pod_ips(pod, view.sandbox)
        failure = await services.hooks.run(handler, pod, container, container_id, ips[0] if ips else "")
        if failure is None:
            return
        self._tell(pod, kind, container, "FailedPostStartHook", "PostStartHook failed")
        services.tell(pod, kind, container, "Normal", "Killing", "FailedPostStartHook")
        grace = pod["spec"].get("terminationGracePeriodSeconds")
        await services.runtime.stop_container(container_id, 30 if grace is None else int(grace))
        raise StartFailure(Waiting("PostStartHookError", failure), None)

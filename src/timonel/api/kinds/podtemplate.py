"""PodTemplate: a pod template by itself, for whoever wants to keep one."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path
from timonel.api.kinds.columns import NAME, container_columns, format_labels, plain
from timonel.api.kinds.pod.defaults import default_pod_template
from timonel.api.kinds.pod.validation import check_template
from timonel.api.kinds.rules import Errors
from timonel.api.kinds.workload import template_warnings
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column, Resource, Strategy


class PodTemplateStrategy(Strategy):
    def default(self, obj: Object) -> None:
        default_pod_template(obj.setdefault("template", {}))

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        check_template(errors, Path("template"), obj.get("template") or {})
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        if old is not None and obj.get("template") == old.get("template"):
            return []
        return template_warnings(obj, "template")


POD_TEMPLATES = Resource(
    ref=refs.POD_TEMPLATES,
    definition="io.k8s.api.core.v1.PodTemplate",
    singular="podtemplate",
    strategy=PodTemplateStrategy(),
    columns=(
        NAME,
        *container_columns("template", priority=0),
        Column(
            "Pod Labels",
            plain(lambda obj: format_labels(get_path(obj, "template", "metadata", "labels"))),
            description="Labels of pods made from it.",
        ),
    ),
    storage_prefix="/registry/podtemplates/",
)

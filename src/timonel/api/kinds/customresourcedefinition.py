"""CustomResourceDefinition: that there are none can be asked; none can be made, for custom resources are not built.

kubectl lists them whenever it meets a kind it does not know, before it says so.
"""

from __future__ import annotations

from timonel.api.kinds.columns import NAME, cell_at
from timonel.api.refs import ResourceRef
from timonel.api.resource import Column, Resource

CUSTOM_RESOURCE_DEFINITIONS = Resource(
    ref=ResourceRef(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
    ),
    definition="io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    singular="customresourcedefinition",
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    verbs=("get", "list", "watch"),
    columns=(
        NAME,
        Column(
            "Created At",
            cell_at("metadata", "creationTimestamp"),
            type="date",
            description="When the definition was made.",
        ),
    ),
    storage_prefix="/registry/apiextensions.k8s.io/customresourcedefinitions/",
)

"""Places in a custom resource's schema where a schema stands or something simpler: a list of them, a boolean, names.

The published definitions leave these types open, so that a mistake inside `items` would go unseen; here they are as
strict as the rest. Server-side apply still treats them as one value, as it does whatever has no definition.
"""

from __future__ import annotations

from typing import Any

from timonel.api.findings import Findings
from timonel.api.scalars import BAD, AnyNode, Node

_PACKAGE = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"
JSON_SCHEMA = f"{_PACKAGE}.JSONSchemaProps"
ALTERNATIVES = {
    f"{_PACKAGE}.JSONSchemaPropsOrArray": "schemas",
    f"{_PACKAGE}.JSONSchemaPropsOrBool": "boolean",
    f"{_PACKAGE}.JSONSchemaPropsOrStringArray": "strings",
}
"""What may stand in the place of a schema, by definition."""


class SchemaOrNode(AnyNode):
    __slots__ = ("alternative", "go_type", "schema")

    def __init__(self, schema: Node, definition: str) -> None:
        self.schema = schema
        self.alternative = ALTERNATIVES[definition]
        self.go_type = f"v1.{definition.rpartition('.')[2]}"

    def settle(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self.schema.settle(value)
        if self.alternative == "boolean":
            return value if isinstance(value, bool) else BAD
        if not isinstance(value, list):
            return BAD
        if self.alternative == "strings":
            return value if all(isinstance(item, str) for item in value) else BAD
        return BAD if any(self.schema.settle(item) is BAD for item in value) else value

    def explain(self, value: Any, findings: Findings) -> None:
        if isinstance(value, dict):
            self.schema.explain(value, findings)
        elif self.alternative == "schemas" and isinstance(value, list):
            for index, item in enumerate(value):
                findings.path.append(f"[{index}]")
                self.schema.explain({} if item is None else item, findings)
                findings.path.pop()
        elif value is None or self.settle(value) is not BAD:
            return
        elif self.alternative == "boolean":
            findings.add_error("boolean or JSON schema expected")
        else:
            findings.add_mismatch(value, self.go_type)

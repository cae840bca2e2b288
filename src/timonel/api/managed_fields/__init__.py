"""Server-side apply and field management: who owns which field, and what happens when two want the same.

`apply` is the PATCH of type application/apply-patch+yaml; `update_managed` keeps the books for every other write.
"""

from timonel.api.managed_fields.apply import apply
from timonel.api.managed_fields.tracking import changes_nothing, update_managed

__all__ = ["apply", "changes_nothing", "update_managed"]

"""Three kinds of PATCH; the fourth, server-side apply, is `timonel.api.managed_fields`.

Each takes the object as it is and returns a new one that shares nothing with it, so that the caller may go on and
change it in place. What a patch does to types and fields is found afterwards, by checking the result.
"""

from timonel.api.patch.json_patch import apply_json_patch
from timonel.api.patch.merge import apply_merge_patch
from timonel.api.patch.strategic import apply_strategic_patch

__all__ = ["apply_json_patch", "apply_merge_patch", "apply_strategic_patch"]

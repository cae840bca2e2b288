"""How much of a ResourceQuota each object uses: shared by the admission that charges and the controller that counts.

Pure, and light: the rows of `timonel.api.kinds` are not needed, so that the manager does not load them.
"""

"""PodSecurity: the Pod Security Standards, enforced, warned of and audited by labels of namespaces."""

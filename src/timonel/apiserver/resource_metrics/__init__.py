"""metrics.k8s.io: what nodes and pods use, asked of the kubelets while somebody asks for it."""

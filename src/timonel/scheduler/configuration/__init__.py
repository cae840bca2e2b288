"""KubeSchedulerConfiguration v1, the file that kube-scheduler takes as --config: read strictly, defaulted, checked.

Values in, values out; whoever reads the file hands the document over.
Source: kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1
"""

"""The node's network: pod network, proxy, DNS. Runs in the agent; meets the kubelet only by the API and CNI's file."""

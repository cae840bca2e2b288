"""The container runtime behind one narrow protocol: CRI v1 over gRPC, and the runtime's event stream."""

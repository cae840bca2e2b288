"""What pods and the node use, read when somebody asks: cgroups, /proc, file systems; and how it is told."""

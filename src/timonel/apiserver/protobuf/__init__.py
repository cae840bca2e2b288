"""Request bodies in protobuf, which kubectl and client-go send for built-in kinds. Answers are always JSON."""

"""OpenAPI documents of what is served, made of the definitions and the resource table when first asked for."""

"""CPUs of their own for containers that ask for whole ones: upstream's `static` CPU manager policy."""
